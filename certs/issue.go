package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"time"

	"github.com/cloudflare/cfssl/csr"

	"boot.internal/hint"
)

// backdate allows for clocks of other machines that are behind.
const backdate = 5 * time.Minute

func (a Algorithm) request() (*csr.KeyRequest, error) {
	switch a {
	case ECDSAP256:
		return &csr.KeyRequest{A: "ecdsa", S: 256}, nil
	case ECDSAP384:
		return &csr.KeyRequest{A: "ecdsa", S: 384}, nil
	case RSA2048:
		return &csr.KeyRequest{A: "rsa", S: 2048}, nil
	case RSA3072:
		return &csr.KeyRequest{A: "rsa", S: 3072}, nil
	case RSA4096:
		return &csr.KeyRequest{A: "rsa", S: 4096}, nil
	default:
		return nil, hint.With(fmt.Errorf("no key algorithm is called %q", string(a)),
			fmt.Sprintf("the algorithms are %s, %s, %s, %s, %s", ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096))
	}
}

func (a Algorithm) newKey() (crypto.Signer, error) {
	req, err := a.request()
	if err != nil {
		return nil, err
	}
	key, err := req.Generate()
	if err != nil {
		return nil, fmt.Errorf("generate an %s key: %w", a, err)
	}
	return key.(crypto.Signer), nil
}

// template is the certificate that the row is to be, valid from now for life. The
// serial number is left to crypto/x509, which draws one.
func (r row) template(life time.Duration) *x509.Certificate {
	now := time.Now()
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: r.cn},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(life).UTC(),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
	}
	for _, org := range append([]string{r.org}, r.orgs...) {
		if org != "" {
			t.Subject.Organization = append(t.Subject.Organization, org)
		}
	}
	for _, usage := range r.usages {
		t.ExtKeyUsage = append(t.ExtKeyUsage, extKeyUsages[usage])
	}
	for _, host := range r.hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t
}

// selfSign makes an authority of key.
func selfSign(r row, key crypto.Signer, life time.Duration) ([]byte, error) {
	t := r.template(life)
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	signed, err := create(t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the CA %s: %w", r.cn, err)
	}
	return signed, nil
}

// A signing is an authority with its key at hand.
type signing struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// sign certifies key as the row, for life but no longer than the CA lives.
func (s signing) sign(r row, key crypto.Signer, life time.Duration) ([]byte, error) {
	t := r.template(life)
	if s.cert.NotAfter.Before(t.NotAfter) {
		t.NotAfter = s.cert.NotAfter
	}
	signed, err := create(t, s.cert, key.Public(), s.key)
	if err != nil {
		return nil, fmt.Errorf("sign %s with the CA %s: %w", r.cn, s.cert.Subject.CommonName, err)
	}
	return signed, nil
}

// create signs a certificate, and returns it as PEM.
func create(t, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
