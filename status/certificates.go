package status

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
)

// CertificateDirs are where a node has certificates.
type CertificateDirs struct {
	PKI         string // /etc/kubernetes/pki
	Kubeconfigs string // /etc/kubernetes
	Kubelet     string // /var/lib/kubelet/pki
}

// Certificates reads all certificates of a node, the next to end first. Those
// that are not there are none; those that cannot be read come first of all.
func (d CertificateDirs) Certificates() []Certificate {
	all := slices.Concat(d.pki(), d.kubeconfigs(), d.kubelet())
	slices.SortStableFunc(all, func(a, b Certificate) int {
		return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func (d CertificateDirs) pki() []Certificate {
	var all []Certificate
	_ = filepath.WalkDir(d.PKI, func(path string, e fs.DirEntry, err error) error { // what cannot be walked is not there
		if err == nil && !e.IsDir() && filepath.Ext(path) == ".crt" {
			name, _ := filepath.Rel(d.PKI, path)
			all = append(all, read(strings.TrimSuffix(name, ".crt"), path))
		}
		return nil
	})
	return all
}

// kubelet reads the pair that others see, and the one that others are shown.
func (d CertificateDirs) kubelet() []Certificate {
	var all []Certificate
	for name, file := range map[string]string{
		"kubelet-client": "kubelet-client-current.pem", "kubelet-serving": "kubelet-server-current.pem", "kubelet": "kubelet.crt",
	} {
		path := filepath.Join(d.Kubelet, file)
		if _, err := os.Stat(path); err == nil {
			all = append(all, read(name, path))
		}
	}
	return all
}

// kubeconfigs reads those that are in a kubeconfig; others are but named there.
func (d CertificateDirs) kubeconfigs() []Certificate {
	paths, _ := filepath.Glob(filepath.Join(d.Kubeconfigs, "*.conf")) // the pattern is well formed
	var all []Certificate
	for _, path := range paths {
		name := filepath.Base(path)
		config, err := clientcmd.LoadFromFile(path)
		if err != nil {
			all = append(all, Certificate{Name: name, Path: path, Error: err.Error()})
			continue
		}
		for _, user := range config.AuthInfos {
			if len(user.ClientCertificateData) > 0 {
				all = append(all, parse(name, path, user.ClientCertificateData))
			}
		}
	}
	return all
}

func read(name, path string) Certificate {
	data, err := os.ReadFile(path)
	if err != nil {
		return Certificate{Name: name, Path: path, Error: err.Error()}
	}
	return parse(name, path, data)
}

// parse takes the first certificate: those after it only vouch for it.
func parse(name, path string, data []byte) Certificate {
	c, err := first(data)
	if err != nil {
		return Certificate{Name: name, Path: path, Error: err.Error()}
	}
	return Certificate{Name: name, Path: path, NotAfter: c.NotAfter, Authority: c.IsCA}
}

func first(data []byte) (*x509.Certificate, error) {
	for {
		block, rest := pem.Decode(data)
		switch {
		case block == nil:
			return nil, errors.New("there is no certificate in it")
		case block.Type == "CERTIFICATE":
			return x509.ParseCertificate(block.Bytes)
		}
		data = rest
	}
}
