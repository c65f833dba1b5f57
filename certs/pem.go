package certs

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"boot.internal/atomicfile"
)

// errCorrupt marks a file that is there but does not hold what it should.
var errCorrupt = errors.New("does not hold")

// readCerts reads the certificates in path, the file's own first.
func readCerts(path string) ([]*x509.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCerts(path, data)
}

func parseCerts(name string, data []byte) ([]*x509.Certificate, error) {
	chain, err := cert.ParseCertsPEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w a certificate: %w", name, errCorrupt, err)
	}
	return chain, nil
}

func readKey(path string) (crypto.Signer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseKey(path, data)
}

// parseKey never quotes data: not even a broken key belongs in a log.
func parseKey(name string, data []byte) (crypto.Signer, error) {
	key, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, fmt.Errorf("%s %w a private key", name, errCorrupt)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s %w a key that can sign", name, errCorrupt)
	}
	return signer, nil
}

func writeKey(path string, key crypto.Signer) error {
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return atomicfile.Write(path, data, 0o600)
}

// belong says whether pub is the public half of key.
func belong(pub crypto.PublicKey, key crypto.Signer) bool {
	p, ok := pub.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && p.Equal(key.Public())
}

func publicPEM(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der}), nil
}
