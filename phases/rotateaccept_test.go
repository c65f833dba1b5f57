package phases

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
)

// The API server is waited for until it takes whom its files name: no sooner, and no
// matter in what order they come.
func TestAPIServerGoesByItsFiles(t *testing.T) {
	w := newWorld(t, "")
	w.makeCerts()
	places := certs.Places{PKI: w.cfg.Cluster.CertificatesDir}
	s, err := certs.Succeed(w.tree().CA, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var taken atomic.Pointer[x509.CertPool]
	server := httptest.NewUnstartedServer(nil)
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			o := server.TLS.Clone()
			o.GetConfigForClient, o.ClientAuth, o.ClientCAs = nil, tls.RequestClientCert, taken.Load()
			return o, nil
		},
	}
	takes := func(texts ...string) {
		pool := x509.NewCertPool()
		for _, text := range append(texts, read(t, w.tree().FrontProxyCA.Cert)) {
			pool.AppendCertsFromPEM([]byte(text))
		}
		taken.Store(pool)
	}
	before, after := string(s.Old), string(s.New)
	takes(before)
	server.StartTLS()
	defer server.Close()

	o := RotateOptions{Places: places, Rollout: RolloutOptions{Manifests: t.TempDir(), State: t.TempDir()}}
	o.Rotation.Authorities = []RotatedAuthority{{"ca", before, after, string(s.Cross)}}
	r, err := newRotation(o)
	if err != nil {
		t.Fatal(err)
	}
	phase := r.accepts()[0]
	if changes, err := phase.Plan(t.Context()); err != nil || changes != nil {
		t.Errorf("without an API server: %v, %v", changes, err)
	}
	host, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	manifest := "spec: {containers: [{readinessProbe: {httpGet: {host: " + host + ", port: " + port + ", scheme: HTTPS, path: /readyz}}}]}\n"
	if err := os.WriteFile(filepath.Join(o.Rollout.Manifests, config.ComponentAPIServer+".yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, server string
		waits        bool
	}{
		{before, before, false},
		{before + after, before, true},
		{before + after, after + before, false},
		{after, after + before, true},
		{after, after, false},
	} {
		if err := os.WriteFile(w.tree().CA.Cert, []byte(c.file), 0o600); err != nil {
			t.Fatal(err)
		}
		takes(c.server)
		changes, err := phase.Plan(t.Context())
		if err != nil || len(changes) > 0 != c.waits {
			t.Errorf("%d in the file, %d in the server: %v, %v", strings.Count(c.file, "BEGIN"), strings.Count(c.server, "BEGIN"), changes, err)
		}
	}
	takes(before, after)
	why := accept{r}.taken(t.Context(), net.JoinHostPort(host, port))
	if why == nil || !strings.Contains(why.Error(), "kube-apiserver takes 2 authorities of the name kubernetes, and not the 1 in ") {
		t.Error(why)
	}
}
