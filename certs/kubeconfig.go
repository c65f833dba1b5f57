package certs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/keyutil"

	"boot.internal/atomicfile"
)

// A kubeconfig names a server, the CA to trust and one user's certificate.
type kubeconfig struct {
	o Options
	row
	path       string
	server     string
	serverName string // whom to expect there; empty: the host of server
	ca         authority
	pem        string // where the user's certificate and key live; empty: inside
}

// access is what a kubeconfig file gives, as far as it could be read.
type access struct {
	server string
	name   string // whom it expects there
	ca     []byte
	user   pair
}

// Look implements item.
func (k kubeconfig) Look() (Status, error) {
	ca, err := k.ca.load()
	if err != nil {
		return Status{}, err
	}
	status, err := k.status(ca)
	if err == nil && ca.external() && status.wants() {
		return status, k.external(k.path, status, k.ca)
	}
	return status, err
}

func (k kubeconfig) status(ca ca) (Status, error) {
	a, err := readAccess(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Status{Missing, "is missing"}, nil
	case errors.Is(err, errCorrupt):
		return Status{Unfit, "does not hold a kubeconfig with a cluster and a user"}, nil
	case err != nil:
		return Status{}, err
	case a.server != k.server:
		return Status{Unfit, fmt.Sprintf("points at %s instead of %s", a.server, k.server)}, nil
	case a.name != k.serverName:
		return Status{Unfit, fmt.Sprintf("expects %q there instead of %q", a.name, k.serverName)}, nil
	case !k.trusts(a.ca, ca):
		return Status{Unfit, "trusts another CA"}, nil
	}
	status := k.row.status(a.user, ca.certs, time.Now())
	if status.State == Missing {
		return Status{Unfit, "has lost its user's certificate"}, nil
	}
	return userWords(status), nil
}

// trusts says whether the text of a kubeconfig's CA stands for ca.
func (k kubeconfig) trusts(text []byte, ca ca) bool {
	trusted, err := parseCerts(k.path, text)
	return err == nil && len(ca.certs) > 0 && slices.ContainsFunc(ca.certs, trusted[0].Equal)
}

// userWords makes what is said of a certificate said of the one in the file.
func userWords(s Status) Status {
	if s.Reason != "" {
		s.Reason = "has a user's certificate that " + s.Reason
	}
	return s
}

// readAccess reads the current context of a kubeconfig and what it refers to.
func readAccess(path string) (access, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return access{}, err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return access{}, fmt.Errorf("%s %w a kubeconfig", path, errCorrupt)
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil || config.Clusters[context.Cluster] == nil || config.AuthInfos[context.AuthInfo] == nil {
		return access{}, fmt.Errorf("%s %w a context with cluster and user", path, errCorrupt)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	ca, err := dataOrFile(cluster.CertificateAuthorityData, cluster.CertificateAuthority)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return access{}, err
	}
	return access{cluster.Server, cluster.TLSServerName, ca, readUser(user)}, nil
}

func readUser(user *api.AuthInfo) pair {
	var p pair
	data, err := dataOrFile(user.ClientCertificateData, user.ClientCertificate)
	if p.certErr = err; err == nil {
		p.chain, p.certErr = parseCerts("the user's certificate", data)
	}
	data, err = dataOrFile(user.ClientKeyData, user.ClientKey)
	if p.keyErr = err; err == nil {
		p.key, p.keyErr = parseKey("the user's key", data)
	}
	return p
}

// dataOrFile follows the rule of kubeconfigs: what is inside comes first.
func dataOrFile(data []byte, path string) ([]byte, error) {
	if len(data) > 0 || path == "" {
		return data, nil
	}
	return os.ReadFile(path)
}

// Plan implements item: the user's own file, if there is one, comes before the
// kubeconfig that refers to it.
func (k kubeconfig) Plan() ([]Write, error) {
	status, err := k.Look()
	if err != nil || !status.wants() {
		return nil, err
	}
	write := Write{k.path, status.why(), k.embed}
	if k.pem == "" {
		return []Write{write}, nil
	}
	write.Do = k.refer
	return k.planReferring(write)
}

// planReferring leaves out of the two files the one that needs no writing.
func (k kubeconfig) planReferring(conf Write) ([]Write, error) {
	ca, err := k.ca.load()
	if err != nil {
		return nil, err
	}
	var writes []Write
	user := readPair(Pair{Cert: k.pem, Key: k.pem})
	status := k.row.status(user, ca.certs, time.Now())
	if status.wants() {
		writes = append(writes, Write{k.pem, status.why(), k.writeUser})
	}
	if want, err := k.referring(); err == nil && k.holds(want) {
		return writes, nil
	}
	return append(writes, conf), nil
}

func (k kubeconfig) holds(want []byte) bool {
	have, err := os.ReadFile(k.path)
	return err == nil && bytes.Equal(have, want)
}

func (k kubeconfig) writeUser() error {
	cert, key, err := k.issue()
	if err != nil {
		return err
	}
	return atomicfile.Write(k.pem, append(cert, key...), 0o600)
}

func (k kubeconfig) refer() error {
	data, err := k.referring()
	if err != nil {
		return err
	}
	return atomicfile.Write(k.path, data, 0o600)
}

func (k kubeconfig) referring() ([]byte, error) {
	return k.render(api.AuthInfo{ClientCertificate: k.pem, ClientKey: k.pem})
}

func (k kubeconfig) embed() error {
	cert, key, err := k.issue()
	if err != nil {
		return err
	}
	data, err := k.render(api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key})
	if err != nil {
		return err
	}
	return atomicfile.Write(k.path, data, 0o600)
}

// issue makes the user's certificate and key, in PEM.
func (k kubeconfig) issue() (cert, key []byte, err error) {
	authority, err := k.ca.signer()
	if err != nil {
		return nil, nil, err
	}
	signer, err := k.o.Algorithm.newKey()
	if err != nil {
		return nil, nil, err
	}
	if cert, err = authority.sign(k.row, signer, k.o.Period); err != nil {
		return nil, nil, err
	}
	if key, err = keyutil.MarshalPrivateKeyToPEM(signer); err != nil {
		return nil, nil, fmt.Errorf("encode the key of %s: %w", k.cn, err)
	}
	return cert, key, nil
}

func (k kubeconfig) render(user api.AuthInfo) ([]byte, error) {
	ca, err := os.ReadFile(k.ca.files.Cert)
	if err != nil {
		return nil, err
	}
	context := k.cn + "@" + k.o.ClusterName
	data, err := clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{k.o.ClusterName: {Server: k.server, TLSServerName: k.serverName, CertificateAuthorityData: ca}},
		AuthInfos:      map[string]*api.AuthInfo{k.cn: &user},
		Contexts:       map[string]*api.Context{context: {Cluster: k.o.ClusterName, AuthInfo: k.cn}},
		CurrentContext: context,
	})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", k.path, err)
	}
	return data, nil
}
