package certs

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/cloudflare/cfssl/config"
	"github.com/cloudflare/cfssl/csr"
	"github.com/cloudflare/cfssl/initca"
	"github.com/cloudflare/cfssl/signer"
	"github.com/cloudflare/cfssl/signer/local"

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

// request is what the row asks its authority for.
func (r row) request() *csr.CertificateRequest {
	req := &csr.CertificateRequest{CN: r.cn, Hosts: r.hosts}
	for _, org := range append([]string{r.org}, r.orgs...) {
		if org != "" {
			req.Names = append(req.Names, csr.Name{O: org})
		}
	}
	return req
}

// selfSign makes an authority of key.
func selfSign(r row, key crypto.Signer, life time.Duration) ([]byte, error) {
	req := r.request()
	// The backdate is cfssl's default here: the same five minutes.
	req.CA = &csr.CAConfig{Expiry: (life + backdate).String()}
	pem, _, err := initca.NewFromSigner(req, key)
	if err != nil {
		return nil, fmt.Errorf("sign the CA %s: %w", r.cn, err)
	}
	return pem, nil
}

// A signing is an authority with its key at hand.
type signing struct {
	cert  *x509.Certificate
	key   crypto.Signer
	cross []byte // what is shown along with what it signs, in PEM; see [Succession.Cross]
}

// sign certifies key as the row, for life but no longer than the CA lives. The
// certificates of older authorities that vouch for this one follow.
func (s signing) sign(r row, key crypto.Signer, life time.Duration) ([]byte, error) {
	usages := append([]string{"digital signature", "key encipherment"}, r.usages...)
	policy := &config.Signing{Default: &config.SigningProfile{
		Usage:        usages,
		Expiry:       life + backdate,
		ExpiryString: (life + backdate).String(),
		Backdate:     backdate,
	}}
	authority, err := local.NewSigner(s.key, s.cert, signer.DefaultSigAlgo(s.key), policy)
	if err != nil {
		return nil, fmt.Errorf("sign %s with the CA %s: %w", r.cn, s.cert.Subject.CommonName, err)
	}
	request, err := csr.Generate(key, r.request())
	if err != nil {
		return nil, fmt.Errorf("request a certificate for %s: %w", r.cn, err)
	}
	order := signer.SignRequest{Request: string(request)}
	if s.cert.NotAfter.Before(time.Now().Add(life)) {
		order.NotAfter = s.cert.NotAfter
	}
	pem, err := authority.Sign(order)
	if err != nil {
		return nil, fmt.Errorf("sign %s with the CA %s: %w", r.cn, s.cert.Subject.CommonName, err)
	}
	return append(pem, s.cross...), nil
}
