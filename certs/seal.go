package certs

import (
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/client-go/util/keyutil"

	"boot.internal/atomicfile"
)

// RecipientKey returns the public half of the key in the file at path, 32 bytes of
// X25519, for which others seal what only this machine is to read. The key is made
// if there is none. The file is the caller's to remove.
func RecipientKey(path string) ([]byte, error) {
	key, err := readRecipient(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newRecipient(path)
	}
	if err != nil {
		return nil, err
	}
	return key.PublicKey().Bytes(), nil
}

func newRecipient(path string) (*ecdh.PrivateKey, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate %s: %w", path, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", path, err)
	}
	return key, atomicfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: keyutil.PrivateKeyBlockType, Bytes: der}), 0o600)
}

// readRecipient never quotes what it reads: not even a broken key belongs in a log.
func readRecipient(path string) (*ecdh.PrivateKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s %w a private key", path, errCorrupt)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	x, ok := key.(*ecdh.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s %w an X25519 key", path, errCorrupt)
	}
	return x, nil
}

// Seal encrypts plain for the holder of a [RecipientKey] (HPKE, RFC 9180). What
// about says is bound to it: only with the same words can it be opened.
func Seal(public, plain, about []byte) ([]byte, error) {
	to, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("read the public key to seal for: %w", err)
	}
	return hpke.Seal(to, hpke.HKDFSHA256(), hpke.AES256GCM(), about, plain)
}

// Open decrypts what was sealed for the key in the file at path, about the same.
func Open(path string, sealed, about []byte) ([]byte, error) {
	key, err := readRecipient(path)
	if err != nil {
		return nil, err
	}
	recipient, err := hpke.NewDHKEMPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("use %s: %w", path, err)
	}
	plain, err := hpke.Open(recipient, hpke.HKDFSHA256(), hpke.AES256GCM(), about, sealed)
	if err != nil {
		return nil, fmt.Errorf("what is sealed cannot be opened with %s: %w", path, err)
	}
	return plain, nil
}
