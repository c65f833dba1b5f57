package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// An api answers reviews: the token "good" is alice's, who may do what is in
// rights, as "verb subresource".
type api struct {
	rights map[string]bool
	asked  int
}

func (a *api) ReviewToken(_ context.Context, token string) (authenticationv1.TokenReviewStatus, error) {
	a.asked++
	return authenticationv1.TokenReviewStatus{
		Authenticated: token == "good", User: authenticationv1.UserInfo{Username: "alice"},
	}, nil
}

func (a *api) ReviewAccess(_ context.Context, s authorizationv1.SubjectAccessReviewSpec) (authorizationv1.SubjectAccessReviewStatus, error) {
	a.asked++
	r := s.ResourceAttributes
	allowed := s.User == "alice" && r.Resource == "nodes" && r.Name == "n1" && a.rights[r.Verb+" "+r.Subresource]
	return authorizationv1.SubjectAccessReviewStatus{Allowed: allowed}, nil
}

type pods []v1.Pod

func (p pods) Pods() []v1.Pod { return p }

// A fixture is a server with one client CA, and a client certificate of it.
type fixture struct {
	*Server
	client, stranger *x509.Certificate
	api              *api
}

func newFixture(t *testing.T, change func(*Options)) fixture {
	t.Helper()
	dir := t.TempDir()
	ca, caKey := newCA(t)
	other, otherKey := newCA(t)
	caFile := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &kubeletv1beta1.KubeletConfiguration{}
	c.Authentication.X509.ClientCAFile = caFile
	c.Authentication.Webhook = kubeletv1beta1.KubeletWebhookAuthentication{Enabled: new(true), CacheTTL: metav1.Duration{Duration: time.Minute}}
	c.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeWebhook
	c.Authorization.Webhook.CacheAuthorizedTTL.Duration = time.Minute
	c.Authorization.Webhook.CacheUnauthorizedTTL.Duration = time.Minute
	f := fixture{api: &api{rights: map[string]bool{}}}
	o := Options{
		Config: c, Node: "n1", CertFile: filepath.Join(dir, "pki", "kubelet.crt"), KeyFile: filepath.Join(dir, "pki", "kubelet.key"),
		IPs: []string{"127.0.0.1"}, Pods: pods{}, PodLogsDir: dir, SystemLogs: dir, CheckpointDir: filepath.Join(dir, "checkpoints"),
		Metrics: prometheus.NewRegistry(), Resource: prometheus.NewRegistry(), Runtime: &world{}, Stats: figures{},
		ContainerStatus: func(context.Context, string) (*cri.ContainerStatus, error) {
			return &cri.ContainerStatus{State: cri.ContainerState_CONTAINER_EXITED}, nil
		},
		Health: func() error { return nil }, Reviews: func() Reviews { return f.api }, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Server, f.client, f.stranger = s, newClient(t, ca, caKey), newClient(t, other, otherKey)
	return f
}

func newCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	return sign(t, template, template, &key.PublicKey, key), key
}

// newClient returns alice's certificate.
func newClient(t *testing.T, ca *x509.Certificate, caKey *ecdsa.PrivateKey) *x509.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "alice", Organization: []string{"crew"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca, &key.PublicKey, caKey)
}

func sign(t *testing.T, template, parent *x509.Certificate, pub *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks for a path with a certificate or a token, or neither.
func (f fixture) get(path string, cert *x509.Certificate, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.TLS = &tls.ConnectionState{}
	if cert != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{cert}
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

func TestWhoMayAsk(t *testing.T) {
	f := newFixture(t, nil)
	f.api.rights["get pods"] = true
	f.api.rights["get metrics"] = true
	for _, c := range []struct {
		name, path string
		cert       *x509.Certificate
		token      string
		want       int
	}{
		{"nobody", "/pods", nil, "", 401},
		{"certificate", "/pods", f.client, "", 200},
		{"certificate of another CA", "/pods", f.stranger, "", 401},
		{"token", "/pods", nil, "good", 200},
		{"bad token", "/pods", nil, "bad", 401},
		{"fine-grained right", "/metrics", f.client, "", 200},
		{"no right", "/configz", f.client, "", 403},
		{"running pods with the right to pods", "/runningpods/", f.client, "", 200},
		{"metrics of containers with the right to metrics", "/metrics/resource", f.client, "", 200},
		{"logs of the node", "/logs/", f.client, "", 403},
		{"logs need more than pods", "/containerLogs/a/b/c", f.client, "", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := f.get(c.path, c.cert, c.token); got.Code != c.want {
				t.Errorf("%d %s, want %d", got.Code, got.Body, c.want)
			}
		})
	}
	asked := f.api.asked
	f.get("/pods", nil, "good")
	if f.api.asked != asked {
		t.Error("a verdict was asked for twice")
	}
}

func TestProxyRightCoversAll(t *testing.T) {
	f := newFixture(t, nil)
	f.api.rights["get proxy"] = true
	for _, path := range []string{"/pods", "/configz", "/healthz"} {
		if got := f.get(path, f.client, ""); got.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, got.Code, got.Body)
		}
	}
}

func TestWithoutAPIServerNobodyNewMayAsk(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Reviews = func() Reviews { return nil } })
	got := f.get("/pods", f.client, "")
	if got.Code != http.StatusInternalServerError || !strings.Contains(got.Body.String(), errNoAPI.Error()) {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if got := f.get("/pods", nil, "good"); got.Code != http.StatusUnauthorized {
		t.Errorf("token: %d %s", got.Code, got.Body)
	}
}

func TestAlwaysAllowAndAnonymous(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow
		o.Config.Authentication.Anonymous.Enabled = new(true)
	})
	if got := f.get("/pods", nil, ""); got.Code != http.StatusOK {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

func TestHealthz(t *testing.T) {
	var sick error
	f := newFixture(t, func(o *Options) { o.Health = func() error { return sick } })
	for _, want := range []int{http.StatusOK, http.StatusInternalServerError} {
		w := httptest.NewRecorder()
		f.healthHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
		sick = errors.New("stuck")
	}
}

func TestPodsAndConfig(t *testing.T) {
	running := v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Status: v1.PodStatus{Phase: v1.PodRunning}}
	f := newFixture(t, func(o *Options) {
		o.Pods = pods{running, {ObjectMeta: metav1.ObjectMeta{Name: "b"}}}
		o.Config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow
		o.Config.StaticPodURLHeader = map[string][]string{"Authorization": {"secret"}}
	})
	for path, want := range map[string]int{"/pods": 2, "/pods/": 2, "/runningpods/": 1} {
		var list v1.PodList
		if err := json.Unmarshal(f.get(path, f.client, "").Body.Bytes(), &list); err != nil || len(list.Items) != want || list.Kind != "PodList" {
			t.Errorf("%s: %v, %d %ss, want %d", path, err, len(list.Items), list.Kind, want)
		}
	}
	body := f.get("/configz", f.client, "").Body.String()
	if !strings.Contains(body, `"kubeletconfig":{`) || strings.Contains(body, "secret") {
		t.Errorf("configz: %s", body)
	}
}

func TestContainerLogs(t *testing.T) { // SP-57
	p := v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"}}
	for _, name := range []string{"c", "new", "unknown", "looping"} {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: name})
	}
	p.Status.ContainerStatuses = []v1.ContainerStatus{
		{
			Name: "c", ContainerID: "containerd://two", RestartCount: 1,
			State:                v1.ContainerState{Running: &v1.ContainerStateRunning{}},
			LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "containerd://one"}},
		},
		{Name: "new", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}},
		{Name: "creating", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}}},
		{
			Name: "looping", ContainerID: "containerd://ended", RestartCount: 0,
			State:                v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
			LastTerminationState: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ContainerID: "containerd://ended"}},
		},
	}
	p.Spec.InitContainers = []v1.Container{{Name: "creating"}}
	f := newFixture(t, func(o *Options) {
		o.Pods = pods{p}
		o.Config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow
		o.Config.FeatureGates = map[string]bool{splitStreams: true}
		o.ContainerStatus = func(_ context.Context, id string) (*cri.ContainerStatus, error) {
			s := &cri.ContainerStatus{State: cri.ContainerState_CONTAINER_EXITED}
			if id == "ended" { // of the others the runtime knows nothing but that they ended
				s.LogPath = filepath.Join(o.PodLogsDir, "ended.log")
			}
			return s, nil
		}
	})
	put(t, filepath.Join(f.o.PodLogsDir, "ended.log"), "2026-01-02T03:04:05Z stdout F ended\n")
	dir := filepath.Join(f.o.PodLogsDir, "ns_p_u", "c")
	for name, text := range map[string]string{
		"0.log": "2026-01-02T03:04:05Z stdout F crashed\n",
		"1.log": "2026-01-02T03:04:06Z stdout F one\n2026-01-02T03:04:07Z stderr P tw\n2026-01-02T03:04:07Z stderr F o\n",
	} {
		put(t, filepath.Join(dir, name), text)
	}
	for _, c := range []struct {
		query string
		code  int
		want  string
	}{
		{"ns/p/c", 200, "one\ntwo\n"},
		{"ns/p/c?follow=true", 200, "one\ntwo\n"},
		{"ns/p/c?tailLines=0", 200, ""},
		{"ns/p/c?limitBytes=2", 200, "on"},
		{"ns/p/c?timestamps=true&sinceTime=2026-01-02T03:04:05Z&tailLines=2&limitBytes=34", 200, "2026-01-02T03:04:07.000000000Z two"},
		{"ns/p/c?previous=true", 200, "crashed\n"},
		{"ns/p/c?tail=2", 200, "two\n"},
		{"ns/p/c?stream=All", 200, "one\ntwo\n"},
		{"ns/p/c?stream=Stdout", 200, "one\n"},
		{"ns/p/c?stream=Stderr", 200, "two\n"},
		{"ns/p/c?stream=Stdin", 400, "invalid stream type \"Stdin\"\n"},
		{"ns/p/looping", 200, "ended\n"},
		{"ns/p/looping?previous=true", 200, "ended\n"},
		{"ns/p/c?tailLines=x", 400, "{\"message\": \"Unable to decode query.\"}\n"},
		{"ns/p/c?tailLines=-1", 422, "{\"message\": \"Invalid request.\"}\n"},
		{"ns/p/c?limitBytes=0", 422, "{\"message\": \"Invalid request.\"}\n"},
		{"ns/p/c?sinceSeconds=5&sinceTime=2026-01-02T03:04:05Z", 422, "{\"message\": \"Invalid request.\"}\n"},
		{"ns/p/new", 400, "container \"new\" in pod \"p\" is waiting to start: trying and failing to pull image\n"},
		{"ns/p/creating", 400, "container \"creating\" in pod \"p\" is waiting to start: ContainerCreating\n"},
		{"ns/p/creating?previous=true", 400, "previous terminated container \"creating\" in pod \"p\" not found\n"},
		{"ns/p/unknown", 400, "container \"unknown\" in pod \"p\" is not available\n"},
		{"ns/p/none", 404, "container \"none\" not found in pod \"p\"\n"},
		{"ns/q/c", 404, "pod \"q\" does not exist\n"},
	} {
		t.Run(c.query, func(t *testing.T) {
			got := f.get("/containerLogs/"+c.query, f.client, "")
			if diff := cmp.Diff(c.want, got.Body.String()); got.Code != c.code || diff != "" {
				t.Errorf("%d, want %d; (-want +got)\n%s", got.Code, c.code, diff)
			}
		})
	}
}

func TestCertificateIsMadeKeptAndReadAgain(t *testing.T) {
	f := newFixture(t, nil)
	first, err := f.tls.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(f.o.KeyFile)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", fi.Mode(), err)
	}
	again, err := New(f.o)
	if err != nil {
		t.Fatal(err)
	}
	if second, _ := again.tls.GetCertificate(nil); !cmp.Equal(first.Certificate, second.Certificate) {
		t.Error("another certificate was made")
	}
	if err := os.WriteFile(f.o.CertFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err := f.tls.GetCertificate(nil); err != nil || kept != first {
		t.Errorf("with a broken file: %v", err)
	}
}

func TestServesOverTLSUntilTheEnd(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Config.Address, o.Config.Port = "127.0.0.1", 0
		o.Config.Authorization.Mode = kubeletv1beta1.KubeletAuthorizationModeAlwaysAllow
		o.Config.Authentication.Anonymous.Enabled = new(true)
	})
	l := f.bind(t.Context(), "127.0.0.1:0")
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.listen(ctx, addr, f.tls, f.Handler())
	}()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // self-signed
	defer client.CloseIdleConnections()
	body := ""
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(time.Minute); body != "ok" && time.Now().Before(deadline); <-again.C {
		r, err := client.Get("https://" + addr + "/healthz")
		if err != nil {
			continue
		}
		data, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		body = string(data)
	}
	if body != "ok" {
		t.Errorf("healthz: %q", body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
