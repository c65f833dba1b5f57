package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"boot.internal/hint"
)

// A Succession is an authority and the one that takes its place, in PEM.
type Succession struct {
	Old []byte // the certificate that signs until now
	New []byte // the certificate of the successor, signed by itself
	// Cross is the successor's certificate signed by the old authority. Who shows it
	// along with what the successor has signed is believed by those who trust only
	// the old one, as well as by those who trust only the new one.
	Cross []byte
	Key   []byte // of the successor: a secret
}

// Succeed makes a successor of the authority in two files: of the same subject and
// constraints, with a new key of the same kind, to live from now as long as the old
// one was made for. It writes nothing. An authority whose key is not there, or that
// must not sign another, has an error with a hint.
func Succeed(old Pair, now time.Time) (Succession, error) {
	signer, err := authoritySigner(old, now)
	if errors.Is(err, ErrExternal) {
		err = hint.With(err, "an authority is rotated by whoever has its key; docs/certificates.md tells how by hand")
	}
	if err != nil {
		return Succession{}, err
	}
	if signer.cert.MaxPathLen == 0 {
		return Succession{}, hint.With(fmt.Errorf("%s allows no authority beneath it (path length 0): it cannot vouch for its successor", old.Cert),
			"have everybody trust another authority by hand; docs/certificates.md tells how")
	}
	key, err := likeKey(signer.cert.PublicKey)
	if err != nil {
		return Succession{}, fmt.Errorf("make a key for the successor of %s: %w", old.Cert, err)
	}
	return signer.succession(key, now)
}

func (s signing) succession(key crypto.Signer, now time.Time) (Succession, error) {
	fail := func(err error) (Succession, error) {
		return Succession{}, fmt.Errorf("sign the successor of the CA %s: %w", s.cert.Subject.CommonName, err)
	}
	template, err := s.template(now)
	if err != nil {
		return fail(err)
	}
	next, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	successor, err := x509.ParseCertificate(next)
	if err != nil {
		return fail(err)
	}
	cross, err := s.vouch(successor)
	if err != nil {
		return fail(err)
	}
	text, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fail(err)
	}
	return Succession{Old: certPEM(s.cert.Raw), New: certPEM(next), Cross: certPEM(cross), Key: text}, nil
}

// template is the old authority's certificate, but for what is each one's own.
func (s signing) template(now time.Time) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := *s.cert
	t.SerialNumber, t.SubjectKeyId, t.AuthorityKeyId, t.SignatureAlgorithm, t.PublicKey = serial, nil, nil, 0, nil
	t.NotBefore, t.NotAfter = now.Add(-backdate), now.Add(Held{Certificate: s.cert}.Lives())
	return &t, nil
}

// vouch signs the successor's certificate, to end no later than who signs.
func (s signing) vouch(successor *x509.Certificate) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := *successor
	// Subject and issuer are the same by name: only the key's identifier tells that
	// it is not signed by itself.
	t.SerialNumber, t.AuthorityKeyId, t.SignatureAlgorithm = serial, s.cert.SubjectKeyId, 0
	if s.cert.NotAfter.Before(t.NotAfter) {
		t.NotAfter = s.cert.NotAfter
	}
	return x509.CreateCertificate(rand.Reader, &t, s.cert, successor.PublicKey, s.key)
}

// authoritySigner reads an authority to sign with.
func authoritySigner(files Pair, now time.Time) (signing, error) {
	p := readPair(files)
	switch {
	case errors.Is(p.keyErr, fs.ErrNotExist) && p.certErr == nil:
		return signing{}, fmt.Errorf("%w: %s", ErrExternal, files.Key)
	case p.certErr != nil:
		return signing{}, p.certErr
	case p.keyErr != nil:
		return signing{}, p.keyErr
	case !p.matched():
		return signing{}, fmt.Errorf("%s does not belong to %s", files.Cert, files.Key)
	}
	a := authority{row: row{files: files}}
	return signing{p.chain[0], p.key, crossOf(files, p.chain[0], now)}, a.usable(p.chain[0], now)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
}
