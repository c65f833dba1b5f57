package certs

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/atomicfile"
)

// pairFiles are a certificate and its key in two files.
type pairFiles struct{ files Pair }

func (f pairFiles) read() pair { return readPair(f.files) }

// write has the key come first. For the moment in between they do not belong to
// each other: whoever reads them notices and stays with what it had, and what a
// power cut leaves of it is renewed.
func (f pairFiles) write(cert, key []byte) error {
	if err := atomicfile.Write(f.files.Key, key, 0o600); err != nil {
		return err
	}
	return atomicfile.Write(f.files.Cert, cert, 0o644)
}

// A pemFile is a certificate and its key in one file.
type pemFile struct{ path string }

func (f pemFile) read() pair { return readPair(Pair{Cert: f.path, Key: f.path}) }

// write replaces the link that the loop has put there, not what it leads to.
func (f pemFile) write(cert, key []byte) error {
	return atomicfile.Write(f.path, append(cert, key...), 0o600)
}

// confUser is the user of a kubeconfig's current context.
type confUser struct{ path string }

func (f confUser) read() pair {
	a, err := readAccess(f.path)
	if err != nil {
		return pair{certErr: err, keyErr: err}
	}
	return a.user
}

// write leaves everything else that is in the file as it is.
func (f confUser) write(cert, key []byte) error {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	config, err := clientcmd.Load(data)
	if err != nil {
		return fmt.Errorf("%s %w a kubeconfig", f.path, errCorrupt)
	}
	context := config.Contexts[config.CurrentContext]
	if context == nil || config.AuthInfos[context.AuthInfo] == nil {
		return fmt.Errorf("%s %w a context with a user", f.path, errCorrupt)
	}
	user := config.AuthInfos[context.AuthInfo]
	user.ClientCertificateData, user.ClientKeyData = cert, key
	user.ClientCertificate, user.ClientKey = "", ""
	if data, err = clientcmd.Write(*config); err != nil {
		return fmt.Errorf("encode %s: %w", f.path, err)
	}
	return atomicfile.Write(f.path, data, 0o600)
}
