package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/cloudflare/cfssl/csr"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"

	"boot.internal/atomicfile"
)

// A Request is what the holder of an authority's key is asked to sign, next to the
// key that it is about. What is there already, a key or a kubeconfig with one,
// stays as it is.
type Request struct {
	Name string // of the item: "certs/apiserver"
	Path string // of the request: "/etc/kubernetes/pki/apiserver.csr"

	o       Options
	row     row
	keyPath string
	key     func() (crypto.Signer, error)
	make    func() error
}

// Requests returns one for each certificate of the table, and for that in each
// kubeconfig: beside it, as kubeadm does, named after it with ".csr" at the end.
func (p *PKI) Requests() []Request {
	var all []Request
	table := clusterTable(p.o)
	if !p.o.ExternalEtcd {
		table = append(etcdTable(p.o), table...)
	}
	for _, r := range table {
		if r.ca != nil {
			all = append(all, p.request(r))
		}
	}
	for _, k := range kubeconfigTable(p.o) {
		all = append(all, k.request())
	}
	return all
}

func (p *PKI) request(r row) Request {
	path := r.files.Key
	return Request{
		Name: "certs/" + r.name, Path: r.files.Cert[:len(r.files.Cert)-len(".crt")] + ".csr", o: p.o, row: r, keyPath: path,
		key:  func() (crypto.Signer, error) { return readKey(path) },
		make: keyWrite(p.o.Algorithm, path, "").Do,
	}
}

func (k kubeconfig) request() Request {
	return Request{
		Name: "kubeconfig/" + k.name, Path: k.path + ".csr", o: k.o, row: k.row, keyPath: k.path,
		key: func() (crypto.Signer, error) {
			a, err := readAccess(k.path)
			if err != nil {
				return nil, err
			}
			return a.user.key, a.user.keyErr
		},
		make: k.unsigned,
	}
}

// unsigned writes the kubeconfig with a key alone.
func (k kubeconfig) unsigned() error {
	signer, err := k.o.Algorithm.newKey()
	if err != nil {
		return err
	}
	key, err := keyutil.MarshalPrivateKeyToPEM(signer)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", k.cn, err)
	}
	// The authority's certificate may well come only with the signed ones.
	ca, err := os.ReadFile(k.ca.files.Cert)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	context := k.cn + "@" + k.o.ClusterName
	data, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{k.o.ClusterName: {Server: k.server, TLSServerName: k.serverName, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*api.AuthInfo{k.cn: {ClientKeyData: key}},
		Contexts:       map[string]*api.Context{context: {Cluster: k.o.ClusterName, AuthInfo: k.cn}},
		CurrentContext: context,
	})
	if err != nil {
		return fmt.Errorf("encode %s: %w", k.path, err)
	}
	return atomicfile.Write(k.path, data, 0o600)
}

// Plan returns the writes that are still to be made: that of the key, and that of
// the request for it.
func (q Request) Plan() ([]Write, error) {
	request := Write{Path: q.Path, Do: q.write}
	key, err := q.key()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []Write{{Path: q.keyPath, Do: q.make}, request}, nil
	case err != nil:
		return nil, err
	case q.isFor(key):
		return nil, nil
	}
	return []Write{request}, nil
}

// isFor says whether the request is there and about a key.
func (q Request) isFor(key crypto.Signer) bool {
	data, err := os.ReadFile(q.Path)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false
	}
	have, err := x509.ParseCertificateRequest(block.Bytes)
	return err == nil && belong(have.PublicKey, key)
}

func (q Request) write() error {
	key, err := q.key()
	if err != nil {
		return err
	}
	data, err := csr.Generate(key, q.row.request())
	if err != nil {
		return fmt.Errorf("request a certificate for %s: %w", q.row.cn, err)
	}
	return atomicfile.Write(q.Path, data, 0o600)
}
