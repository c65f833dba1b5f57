package certs

import (
	"testing"
	"time"

	"github.com/cloudflare/cfssl/config"
	"github.com/cloudflare/cfssl/csr"
	"github.com/cloudflare/cfssl/initca"
	"github.com/cloudflare/cfssl/signer"
	"github.com/cloudflare/cfssl/signer/local"
)

// The linter is left out of the build. Whoever asks for it is refused, rather than
// given a certificate that nobody looked at.
func TestLintingIsRefused(t *testing.T) {
	key, err := ECDSAP256.newKey()
	if err != nil {
		t.Fatal(err)
	}
	pem, _, err := initca.NewFromSigner(&csr.CertificateRequest{CN: "ca", CA: &csr.CAConfig{Expiry: "1h"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	cas, err := parseCerts("ca", pem)
	if err != nil {
		t.Fatal(err)
	}
	profile := &config.SigningProfile{Usage: []string{"server auth"}, Expiry: time.Hour, ExpiryString: "1h", LintErrLevel: 6}
	authority, err := local.NewSigner(key, cas[0], signer.DefaultSigAlgo(key), &config.Signing{Default: profile, Profiles: map[string]*config.SigningProfile{"server": profile}})
	if err != nil {
		t.Fatal(err)
	}
	request, err := csr.Generate(key, &csr.CertificateRequest{CN: "server"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := authority.Sign(signer.SignRequest{Request: string(request)}); err == nil {
		t.Error("signed, though asked to lint first")
	}
}
