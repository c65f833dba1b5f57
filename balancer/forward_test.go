package balancer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"boot.internal/nstest"
)

// A cluster is API servers that are real as far as TLS and HTTP go.
type cluster struct {
	roots *x509.CertPool
	cert  tls.Certificate
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kube-apiserver"}, DNSNames: []string{"kubernetes"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{x509.NewCertPool(), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	c.roots.AddCert(parsed)
	return c
}

// An api is one API server, which says its name.
type api struct {
	*httptest.Server
	ready       atomic.Bool
	connections atomic.Int64 // that it has taken
}

func (a *api) address() string { return a.Listener.Addr().String() }

func (c *cluster) serve(t *testing.T, name, address string) *api {
	t.Helper()
	a := &api{}
	a.ready.Store(true)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/watch": // which never ends by itself
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case r.URL.Path == "/readyz" && !a.ready.Load():
			http.Error(w, "[+]ping ok\n[-]etcd failed: reason withheld", http.StatusInternalServerError)
		case r.URL.Path == "/readyz" && r.ProtoMajor == 2: // UnauthenticatedHTTP2DOSMitigation
			w.Header().Set("Connection", "close")
		default:
			_, _ = io.WriteString(w, name)
		}
	}))
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Listener.Close()
	a.Listener, a.EnableHTTP2 = l, true
	a.TLS = &tls.Config{Certificates: []tls.Certificate{c.cert}}
	a.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			a.connections.Add(1)
		}
	}
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(a.kill)
	return a
}

// kill ends it as a process that is killed.
func (a *api) kill() {
	a.CloseClientConnections()
	a.Close()
}

// balance runs a balancer between them and returns a client of it.
func (c *cluster) balance(t *testing.T, seeds ...string) (*Balancer, *http.Client, string) {
	t.Helper()
	b := New(Options{
		Node: "node1", Seeds: seeds, Listen: []string{"127.0.0.1:0"}, Log: slogTo(t),
		Roots: func() (*x509.CertPool, error) { return c.roots, nil },
		local: func(host string) bool { return strings.HasSuffix(host, ".1") },
	})
	ctx, cancel := context.WithCancel(t.Context())
	b.Listen(ctx)
	url := "https://" + b.listeners[0].Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: c.roots, ServerName: ServerName}}
	t.Cleanup(transport.CloseIdleConnections)
	return b, &http.Client{Transport: transport}, url
}

// also has a balancer that uses a server know another one, and waits until that is
// ready. Of two that it has known from the start it uses the one that answers first,
// where the machine is too busy for the better one to answer soon.
func also(t *testing.T, b *Balancer, client *http.Client, url, address string) {
	t.Helper()
	if get(t, client, url) == "" {
		t.FailNow()
	}
	b.mu.Lock()
	s := b.known(address, time.Now())
	b.mu.Unlock()
	b.wake()
	for {
		b.mu.Lock()
		ready, changed := s.health == Ready, b.changed
		b.mu.Unlock()
		if ready {
			return
		}
		<-changed
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Errorf("get %s: %v", url, err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}

func TestForward(t *testing.T) {
	c := newCluster(t)
	first, second := c.serve(t, "first", "127.0.0.1:0"), c.serve(t, "second", "127.0.0.2:0")
	b, client, url := c.balance(t, first.address())
	also(t, b, client, url, second.address())
	if got := get(t, client, url); got != "first" {
		t.Errorf("%q answers", got)
	}
	first.kill()
	client.CloseIdleConnections()
	if got := get(t, client, url); got != "second" {
		t.Errorf("%q answers after the first was killed", got)
	}
}

// However often a server is asked, it is connected to once for pings and once for
// the rest.
func TestTwoConnections(t *testing.T) {
	c := newCluster(t)
	server := c.serve(t, "first", "127.0.0.1:0")
	roots := func() (*x509.CertPool, error) { return c.roots, nil }
	conn, err := session{roots}.open(t.Context(), server.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 3 {
		if err := errors.Join(conn.Ready(t.Context()), conn.Ping(t.Context())); err != nil {
			t.Error(err)
		}
	}
	if n := server.connections.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A server that is not ready is left, together with those who are connected.
func TestUnready(t *testing.T) {
	c := newCluster(t)
	first, second := c.serve(t, "first", "127.0.0.1:0"), c.serve(t, "second", "127.0.0.2:0")
	b, client, url := c.balance(t, first.address())
	also(t, b, client, url, second.address())
	response, err := client.Get(url + "/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	first.ready.Store(false)
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the watch has ended as if it was over")
	}
	if got := get(t, client, url); got != "second" {
		t.Errorf("%q answers", got)
	}
}

// A connection waits for a server that starts.
func TestHold(t *testing.T) {
	c := newCluster(t)
	reserved, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := reserved.Addr().String()
	_ = reserved.Close()
	_, client, url := c.balance(t, address)
	answer := make(chan string, 1)
	go func() { answer <- get(t, client, url) }()
	c.serve(t, "late", address)
	if got := <-answer; got != "late" {
		t.Errorf("%q answers", got)
	}
}

// With nobody there, clients are refused in the end.
func TestRefuse(t *testing.T) {
	c := newCluster(t)
	_, client, url := c.balance(t, "127.0.0.1:1")
	began := time.Now()
	response, err := client.Get(url)
	if err == nil {
		_ = response.Body.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took < holding || took > holding+desperate+time.Minute { // the machine may be busy
		t.Errorf("it took %s", took)
	}
}

// Of somebody else at the address of an API server nobody is told.
func TestStranger(t *testing.T) {
	c := newCluster(t)
	stranger, own := newCluster(t).serve(t, "stranger", "127.0.0.1:0"), c.serve(t, "own", "127.0.0.2:0")
	_, client, url := c.balance(t, stranger.address(), own.address())
	if got := get(t, client, url); got != "own" {
		t.Errorf("%q answers", got)
	}
}

// Each direction of a connection ends by itself.
func TestHalfClose(t *testing.T) {
	c := newCluster(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		said, _ := io.ReadAll(conn)
		_, _ = conn.Write(append(said, " yourself"...))
	}()
	b, _, url := c.balance(t)
	b.mu.Lock()
	s := b.known(l.Addr().String(), time.Now())
	s.health, s.watched = Ready, true // it talks no HTTP/2
	b.mu.Unlock()
	b.settle()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello yourself" {
		t.Errorf("heard %q: %v", got, err)
	}
}

// When it ends, nothing of it is left.
func TestEnd(t *testing.T) {
	c := newCluster(t)
	a := c.serve(t, "a", "127.0.0.1:0")
	before := runtime.NumGoroutine()
	t.Run("running", func(t *testing.T) {
		_, client, url := c.balance(t, a.address())
		response, err := client.Get(url + "/watch")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() }) // after the balancer has ended
	})
	a.CloseClientConnections()
	stop := time.Now().Add(time.Minute)
	for runtime.NumGoroutine() > before && time.Now().Before(stop) {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		trace := make([]byte, 1<<16)
		t.Errorf("%d goroutines are left:\n%s", n-before, trace[:runtime.Stack(trace, true)])
	}
}

// A host that vanishes without a word is left within two seconds, and those who
// are connected to it are told.
func TestBlackHole(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
	}
	run("ip", "address", "add", "192.0.2.1/32", "dev", "lo")
	run("ip", "address", "add", "192.0.2.2/32", "dev", "lo")
	c := newCluster(t)
	first, second := c.serve(t, "first", "192.0.2.1:6443"), c.serve(t, "second", "192.0.2.2:6443")
	b, client, url := c.balance(t, first.address())
	also(t, b, client, url, second.address())
	response, err := client.Get(url + "/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	run("nft", "add table inet cut; add chain inet cut out { type filter hook output priority 0; }; "+
		"add rule inet cut out ip daddr 192.0.2.1 drop; add rule inet cut out ip saddr 192.0.2.1 drop")
	began := time.Now()
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the watch has ended as if it was over")
	}
	if got := get(t, client, url); got != "second" {
		t.Errorf("%q answers", got)
	}
	took := time.Since(began)
	t.Logf("left after %s", took)
	if took > 2*deadline { // TestLeft is exact; here the machine may be busy
		t.Errorf("it took %s", took)
	}
}
