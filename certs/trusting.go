package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/atomicfile"
)

// A Trusting is a file that says which authorities are trusted.
type Trusting struct {
	Path string
	CA   string // Name of the authority that it is about
	// Bundle says that it is the authority's own file, and not a kubeconfig.
	Bundle bool
}

// Trusting returns the files of a node that say whom to trust, those that are there:
// bundles first, for kubeconfigs follow them.
func (p Places) Trusting() []Trusting {
	tree, conf := Tree(p.PKI), KubeconfigTree(p.Kubernetes)
	all := []Trusting{
		{tree.CA.Cert, "ca", true}, {tree.FrontProxyCA.Cert, "front-proxy-ca", true}, {tree.EtcdCA.Cert, "etcd-ca", true},
	}
	for _, path := range []string{
		conf.Kubelet, filepath.Join(p.Kubernetes, "bootstrap-kubelet.conf"), conf.Admin, conf.SuperAdmin, conf.ControllerManager, conf.Scheduler,
	} {
		all = append(all, Trusting{Path: path, CA: "ca"})
	}
	var there []Trusting
	for _, t := range all {
		if exists(t.Path) {
			there = append(there, t)
		}
	}
	return there
}

// A Retrust makes of the authorities that a file trusts those that it is to trust.
type Retrust func(trusted []*x509.Certificate) []*x509.Certificate

// Plan returns the write that is still to be made, nil if there is none. Everything
// else that is in a kubeconfig stays, and so does what it refers to in other files.
func (t Trusting) Plan(change Retrust) (*Write, error) {
	have, err := os.ReadFile(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rewrite, mode := inConf, os.FileMode(0o600)
	if t.Bundle {
		rewrite, mode = inBundle, 0o644
	}
	want, err := rewrite(t.Path, have, change)
	if err != nil || bytes.Equal(have, want) {
		return nil, err
	}
	return &Write{Path: t.Path, Do: func() error { return atomicfile.Write(t.Path, want, mode) }}, nil
}

// ReadBundle returns the certificates in a file, in order.
func ReadBundle(path string) ([]*x509.Certificate, error) { return readCerts(path) }

// inBundle returns another content for a file of certificates.
func inBundle(path string, have []byte, change Retrust) ([]byte, error) {
	all, err := parseCerts(path, have)
	if err != nil {
		return nil, err
	}
	next := change(all)
	if same(all, next) {
		return have, nil
	}
	return encodeCerts(next), nil
}

// inConf returns another content for a kubeconfig.
func inConf(path string, have []byte, change Retrust) ([]byte, error) {
	config, err := clientcmd.Load(have)
	if err != nil {
		return nil, fmt.Errorf("%s %w a kubeconfig", path, errCorrupt)
	}
	changed := false
	for _, cluster := range config.Clusters {
		if len(cluster.CertificateAuthorityData) == 0 {
			continue
		}
		text, err := inBundle(path, cluster.CertificateAuthorityData, change)
		if err != nil {
			return nil, err
		}
		changed = changed || !bytes.Equal(text, cluster.CertificateAuthorityData)
		cluster.CertificateAuthorityData = text
	}
	if !changed {
		return have, nil
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	return data, nil
}

func same(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}
