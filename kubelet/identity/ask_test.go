package identity

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// successor returns another authority of the same subject.
func (a *authority) successor() (Authority, func()) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	own, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		a.t.Fatal(err)
	}
	cross, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(own)
	if err != nil {
		a.t.Fatal(err)
	}
	next := Authority{c, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cross})}
	return next, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.cert, a.key = template, key
	}
}

func (a *authority) client(o ClientOptions) *Client {
	a.t.Helper()
	cert, key := a.issue(-time.Minute, time.Hour)
	write(a.t, currentPath(o.CertDir, clientPrefix), cert, key)
	write(a.t, o.Kubeconfig, a.refers(o))
	c, err := NewClient(a.t.Context(), o)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func TestAskForClient(t *testing.T) {
	a := newAuthority(t)
	c := a.client(a.options(t.TempDir()))
	first := a.call(c)
	next, change := a.successor()
	if err := c.Ask(t.Context(), next); !errors.Is(err, ErrOtherSigner) {
		t.Errorf("before the cluster signs by it: %v", err)
	}
	if got := a.call(c); got != first {
		t.Errorf("uses %d, which the old authority has signed", got)
	}
	change()
	for range 2 { // the second time there is nothing to ask for
		if err := c.Ask(t.Context(), next); err != nil {
			t.Fatal(err)
		}
	}
	if !signedBy(c.Certificate(), next) || len(c.Certificate().Certificate) != 1 {
		t.Errorf("has %d certificates, the first by %s", len(c.Certificate().Certificate), c.Certificate().Leaf.Issuer)
	}
	if got := a.call(c); got != c.Certificate().Leaf.SerialNumber.Int64() {
		t.Errorf("shows %d", got)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) != 2 {
		t.Errorf("%d requests", len(a.requests))
	}
}

// Whoever only knows the authority before finds the way by what follows the
// certificate.
func TestAskForServing(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	c := a.client(o)
	addresses := []v1.NodeAddress{}
	s, err := NewServing(ServingOptions{Node: "node1", CertDir: o.CertDir, Log: o.Log, Addresses: func() []v1.NodeAddress { return addresses }})
	if err != nil {
		t.Fatal(err)
	}
	old := x509.NewCertPool()
	old.AppendCertsFromPEM(a.pem)
	next, change := a.successor()
	change()
	if err := s.Ask(t.Context(), c.API, next); err == nil {
		t.Error("asked without an address")
	}
	addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.2"}}
	if err := s.Ask(t.Context(), c.API, next); err != nil {
		t.Fatal(err)
	}
	shown := s.Certificate()
	if len(shown.Certificate) != 2 {
		t.Fatalf("shows %d certificates", len(shown.Certificate))
	}
	between := x509.NewCertPool()
	cross, err := x509.ParseCertificate(shown.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	between.AddCert(cross)
	if _, err := shown.Leaf.Verify(x509.VerifyOptions{Roots: old, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
}

func TestAskWithoutRotation(t *testing.T) {
	err := (&Client{}).Ask(t.Context(), Authority{})
	if err == nil {
		t.Error("asked")
	}
}

// The authorities of a kubeconfig that is rewritten count for connections made from
// then on.
func TestRetrust(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	c := a.client(o)
	first := a.call(c)
	trusted := a.refers(o)
	other, err := clientcmd.Load(trusted)
	if err != nil {
		t.Fatal(err)
	}
	other.Clusters["c"].CertificateAuthorityData = a.pem // which has not signed the server's
	data, err := clientcmd.Write(*other)
	if err != nil {
		t.Fatal(err)
	}
	write(t, o.Kubeconfig, data)
	until(t, "the server is still trusted", func() bool { _, err := c.API.Discovery().ServerVersion(); return err != nil })
	write(t, o.Kubeconfig, []byte("no kubeconfig")) // which changes nothing
	write(t, o.Kubeconfig, trusted)
	until(t, "the server is not trusted again", func() bool { _, err := c.API.Discovery().ServerVersion(); return err == nil })
	if got := a.call(c); got != first {
		t.Errorf("shows %d", got)
	}
}
