package identity

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// refers returns a kubeconfig that names the current certificate.
func (a *authority) refers(o ClientOptions) []byte {
	path := currentPath(o.CertDir, clientPrefix)
	return a.conf(clientcmdapi.AuthInfo{ClientCertificate: path, ClientKey: path})
}

func TestBootstrap(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	o.Bootstrap = filepath.Join(filepath.Dir(o.Kubeconfig), "bootstrap-kubelet.conf")
	done := make(chan *Client, 1)
	go func() {
		c, err := NewClient(t.Context(), o)
		if err != nil {
			t.Error(err)
		}
		done <- c
	}()
	write(t, o.Bootstrap, a.conf(clientcmdapi.AuthInfo{Token: "abcdef.0123456789abcdef"}))
	c := <-done
	a.mu.Lock()
	asked, request := slices.Clone(a.asked), a.requests[0]
	a.mu.Unlock()
	if !slices.Equal(asked, []string{"abcdef.0123456789abcdef"}) || request.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		t.Errorf("asked by %q of %q", asked, request.Spec.SignerName)
	}
	want := c.Certificate().Leaf
	if got := a.call(c); got != want.SerialNumber.Int64() || want.Subject.CommonName != "system:node:node1" {
		t.Errorf("shows %d, has %d of %s", got, want.SerialNumber, want.Subject)
	}
	current := currentPath(o.CertDir, clientPrefix)
	if link, err := os.Readlink(current); err != nil || filepath.Dir(link) != o.CertDir {
		t.Errorf("link %s: %v", link, err)
	}
	conf, err := clientcmd.LoadFromFile(o.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if user := conf.AuthInfos["default-auth"]; user.ClientCertificate != current || user.ClientKey != current || user.Token != "" {
		t.Errorf("kubeconfig %+v", conf)
	}
	// The next start finds all it needs.
	if err := os.Remove(o.Bootstrap); err != nil {
		t.Fatal(err)
	}
	again, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.call(again); got != want.SerialNumber.Int64() {
		t.Errorf("shows %d", got)
	}
}

// A certificate most of whose life is over is replaced, by a request of the node
// itself, and connections are made anew with the new one.
func TestRenewed(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	cert, key := a.issue(-time.Hour, time.Minute)
	write(t, currentPath(o.CertDir, clientPrefix), cert, key) // a plain file, as init writes it
	write(t, o.Kubeconfig, a.refers(o))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	first := a.call(c)
	until(t, "the certificate is not renewed", func() bool { return a.call(c) != first })
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.asked, []string{"system:node:node1"}) {
		t.Errorf("asked by %q", a.asked)
	}
	if files, _ := filepath.Glob(filepath.Join(o.CertDir, "kubelet-client-2*.pem")); len(files) != 2 {
		t.Errorf("files %q", files)
	}
}

// Somebody else may renew it, too.
func TestReplaced(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	cert, key := a.issue(-time.Minute, time.Hour)
	write(t, currentPath(o.CertDir, clientPrefix), cert, key)
	write(t, o.Kubeconfig, a.refers(o))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	first := a.call(c)
	cert, key = a.issue(0, time.Hour)
	write(t, currentPath(o.CertDir, clientPrefix), cert, key)
	until(t, "the certificate is not taken over", func() bool { return a.call(c) != first })
}

// Where a kubeconfig holds a certificate newer than the one in the store, the
// node was set up anew.
func TestSetUpAnew(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	old, oldKey := a.issue(-time.Hour, 24*time.Hour)
	write(t, currentPath(o.CertDir, clientPrefix), old, oldKey)
	cert, key := a.issue(-time.Minute, 24*time.Hour)
	write(t, o.Kubeconfig, a.conf(clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := leaf(cert)
	if err != nil {
		t.Fatal(err)
	}
	if got := a.call(c); got != want.SerialNumber.Int64() {
		t.Errorf("shows %d, want %d", got, want.SerialNumber)
	}
}

// A kubeconfig with a certificate in it is enough to ask for one's own.
func TestEmbedded(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	cert, key := a.issue(-time.Minute, time.Hour)
	write(t, o.Kubeconfig, a.conf(clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "no certificate of its own", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.asked) == 1 && a.asked[0] == "system:node:node1"
	})
	given, err := leaf(cert)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is not used", func() bool { return a.call(c) != given.SerialNumber.Int64() })
}

// Without rotation a kubeconfig is used as it is.
func TestNotRotated(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	o.Rotate = false
	cert, key := a.issue(-time.Hour, time.Minute)
	write(t, o.Kubeconfig, a.conf(clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a.call(c) == 0 || c.Certificate() != nil {
		t.Errorf("certificate %v", c.Certificate())
	}
	if _, err := os.Stat(o.CertDir); !os.IsNotExist(err) {
		t.Errorf("%s: %v", o.CertDir, err)
	}
}

// A serving certificate is asked for once the node has an IP, and again when its
// addresses change.
func TestServing(t *testing.T) {
	a := newAuthority(t)
	o := a.options(t.TempDir())
	cert, key := a.issue(-time.Minute, time.Hour)
	write(t, currentPath(o.CertDir, clientPrefix), cert, key)
	write(t, o.Kubeconfig, a.refers(o))
	c, err := NewClient(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var now atomic.Pointer[[]v1.NodeAddress]
	now.Store(&[]v1.NodeAddress{{Type: v1.NodeHostName, Address: "node1"}})
	s, err := NewServing(ServingOptions{Node: "node1", CertDir: o.CertDir, Log: o.Log, Addresses: func() []v1.NodeAddress { return *now.Load() }})
	if err != nil {
		t.Fatal(err)
	}
	if s.Certificate() != nil {
		t.Error("there is none yet")
	}
	go func() {
		if err := s.Run(t.Context(), c.API); err != nil {
			t.Error(err)
		}
	}()
	requests := func() int {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.requests)
	}
	now.Store(&[]v1.NodeAddress{
		{Type: v1.NodeInternalIP, Address: "192.0.2.2"},
		{Type: v1.NodeInternalIP, Address: "fd00::2"},
		{Type: v1.NodeHostName, Address: "node1"},
		{Type: v1.NodeExternalDNS, Address: "a.test"},
		{Type: v1.NodeInternalIP, Address: "192.0.2.2"},
	})
	s.Poke()
	until(t, "none is asked for", func() bool { return s.Certificate() != nil })
	if got := s.template(); !slices.Equal(got.DNSNames, []string{"a.test", "node1"}) || len(got.IPAddresses) != 2 || got.IPAddresses[0].String() != "192.0.2.2" {
		t.Errorf("asks for %q %v", got.DNSNames, got.IPAddresses)
	}
	if r := a.requests[0].Spec; r.SignerName != certificatesv1.KubeletServingSignerName || !slices.Contains(r.Usages, certificatesv1.UsageServerAuth) {
		t.Errorf("asks %s for %v", r.SignerName, r.Usages)
	}
	before, first := requests(), s.Certificate()
	now.Store(&[]v1.NodeAddress{{Type: v1.NodeInternalIP, Address: "192.0.2.3"}})
	s.Poke()
	until(t, "none is asked for when addresses change", func() bool { return requests() > before })
	until(t, "it is not used", func() bool { return s.Certificate() != first }) // client-go has replaced the link by then
	if _, err := os.Readlink(currentPath(o.CertDir, serverPrefix)); err != nil {
		t.Error(err)
	}
	again, err := NewServing(ServingOptions{Node: "node1", CertDir: o.CertDir, Log: o.Log})
	if err != nil || again.Certificate() == nil {
		t.Errorf("the next start: %v", err)
	}
}
