package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/util/keyutil"

	"boot.internal/hint"
)

// ErrExternal says that a certificate has to be signed by whoever has the key of
// its authority.
var ErrExternal = errors.New("the key of its authority is not on this machine")

// Renewable says whether the certificate can be renewed on this machine: its
// authority's key has to be here and the authority good. There must be something
// to go by, too: a certificate that cannot be read says nothing of names.
func (h Held) Renewable(now time.Time) error {
	if h.Certificate == nil {
		return hint.With(fmt.Errorf("read %s: %w", h.Path, h.Err), "remove it and run 'boot init' again, which makes what is missing")
	}
	if h.clusterSigns() {
		return hint.With(fmt.Errorf("renew %s: the cluster signs it, at the request of the kubelet loop", h.Name), "the loop asks in time; 'boot status' tells how it is")
	}
	_, err := h.signer(now)
	return err
}

func (h Held) signer(now time.Time) (signing, error) {
	s, err := authoritySigner(h.authority, now)
	if errors.Is(err, ErrExternal) {
		return s, hint.With(fmt.Errorf("renew %s: %w", h.Name, err), "'boot certs generate-csr' makes requests that its holder can sign")
	}
	return s, err
}

// shortest is how long a certificate lives at least, unless somebody asks for less:
// whoever renews without being asked does not do so every minute.
const shortest = time.Hour

// next returns how long the one after this certificate lives.
func (h Held) next() time.Duration { return max(h.Lives(), shortest) }

// Renew replaces the certificate by one for the same subject, names and uses, of a
// new key of the same kind. If life is 0, it lives as long as the one before was
// made for, and an hour at least; but no longer than its authority.
func (h Held) Renew(life time.Duration, now time.Time) error {
	if err := h.Renewable(now); err != nil {
		return err
	}
	authority, err := h.signer(now)
	if err != nil {
		return err
	}
	if life == 0 {
		life = h.next()
	}
	key, err := likeKey(h.Certificate.PublicKey)
	if err != nil {
		return fmt.Errorf("make a key for %s: %w", h.Name, err)
	}
	der, err := authority.again(h.Certificate, key, now, life)
	if err != nil {
		return fmt.Errorf("sign %s: %w", h.Name, err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encode the key of %s: %w", h.Name, err)
	}
	return h.form.write(append(certPEM(der), authority.cross...), keyPEM)
}

// Gain returns how much later a certificate would end that is made now.
func (h Held) Gain(now time.Time) time.Duration {
	end := now.Add(h.next())
	if a := readPair(h.authority).first(); a != nil && a.NotAfter.Before(end) {
		end = a.NotAfter
	}
	return end.Sub(h.Certificate.NotAfter)
}

// again certifies key as what old certified another for.
func (s signing) again(old *x509.Certificate, key crypto.Signer, now time.Time, life time.Duration) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(life)
	if s.cert.NotAfter.Before(end) {
		end = s.cert.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, RawSubject: old.RawSubject,
		DNSNames: old.DNSNames, IPAddresses: old.IPAddresses, URIs: old.URIs, EmailAddresses: old.EmailAddresses,
		KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage, BasicConstraintsValid: true,
		NotBefore: now.Add(-backdate), NotAfter: end,
	}, s.cert, key.Public(), s.key)
}

// likeKey makes a key of the kind of another.
func likeKey(public crypto.PublicKey) (crypto.Signer, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.GenerateKey(k.Curve, rand.Reader)
	case *rsa.PublicKey:
		return rsa.GenerateKey(rand.Reader, k.N.BitLen())
	default:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
}
