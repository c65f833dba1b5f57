package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	healthserver "google.golang.org/grpc/health"
	health "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// attempt makes one attempt by a real handler at a container on loopback whose
// port "web" is port.
func attempt(t *testing.T, port int, timeout time.Duration, h v1.ProbeHandler) (answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	c := &container{ip: "127.0.0.1", id: "a", spec: &v1.Container{
		Name: "c", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: int32(port)}},
	}}
	return newHandlers(Options{}).handle(ctx, c, &v1.Probe{ProbeHandler: h})
}

// expectAnswer compares an answer, the output by its beginning.
func expectAnswer(t *testing.T, got, want answer) {
	t.Helper()
	if got.ok != want.ok || got.warning != want.warning || !strings.HasPrefix(got.output, want.output) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func portOfServer(t *testing.T, s *httptest.Server) int {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freePort returns a port nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func newWeb(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/here", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/status/200", http.StatusFound) })
	mux.HandleFunc("/bad", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/status/500", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/away", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://192.0.2.1/")
		w.WriteHeader(http.StatusFound)
		_, _ = w.Write([]byte("elsewhere"))
	})
	mux.HandleFunc("/query", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("a") != "b c" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) })
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

func TestHTTP(t *testing.T) {
	plain, secure := httptest.NewServer(newWeb(t)), httptest.NewTLSServer(newWeb(t))
	defer plain.Close()
	defer secure.Close()
	for path, want := range map[string]answer{
		"/status/200":  {ok: true},
		"status/204":   {ok: true},
		"/status/304":  {ok: true, warning: true},
		"/status/400":  {output: "HTTP probe failed with statuscode: 400"},
		"/status/500":  {output: "HTTP probe failed with statuscode: 500"},
		"/here":        {ok: true},
		"/bad":         {output: "HTTP probe failed with statuscode: 500"},
		"/loop":        {output: `Get "/loop": stopped after 10 redirects`},
		"/away":        {ok: true, warning: true, output: "Probe terminated redirects, Response body: elsewhere"},
		"/query?a=b+c": {ok: true},
		"/large":       {ok: true},
		"/%zz":         {output: "HTTP probe failed with statuscode: 404"},
	} {
		t.Run(path, func(t *testing.T) {
			for scheme, server := range map[v1.URIScheme]*httptest.Server{"": plain, "HTTP": plain, "HTTPS": secure} {
				got, err := attempt(t, portOfServer(t, server), 10*time.Second, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{
					Scheme: scheme, Path: path, Port: intstr.FromString("web"),
				}})
				if err != nil {
					t.Fatal(err)
				}
				expectAnswer(t, got, want)
			}
		})
	}
}

func TestHTTPWithoutAnswer(t *testing.T) {
	server := httptest.NewServer(newWeb(t))
	defer server.Close()
	slow, err := attempt(t, portOfServer(t, server), time.Second, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/slow", Port: intstr.FromString("web")}})
	if err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, slow, answer{output: fmt.Sprintf(`Get "%s/slow": context deadline exceeded`, server.URL)})

	port := freePort(t)
	none, err := attempt(t, port, time.Minute, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt(port)}})
	if err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, none, answer{output: fmt.Sprintf(`Get "http://127.0.0.1:%d/": dial tcp 127.0.0.1:%d: connect: connection refused`, port, port)})
}

func TestHTTPHeaders(t *testing.T) {
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header
		got.Set("Host", r.Host)
	}))
	defer server.Close()
	port := portOfServer(t, server)
	self := fmt.Sprintf("127.0.0.1:%d", port)
	for name, tc := range map[string]struct {
		given []v1.HTTPHeader
		want  http.Header
	}{
		"none": {nil, http.Header{"Accept": {"*/*"}, "User-Agent": {"kube-probe/1.37"}, "Host": {self}}},
		"own": {
			[]v1.HTTPHeader{{Name: "x-a", Value: "1"}, {Name: "X-A", Value: "2"}, {Name: "host", Value: "example.org"}, {Name: "user-agent", Value: "me"}, {Name: "Accept", Value: "text/plain"}},
			http.Header{"Accept": {"text/plain"}, "User-Agent": {"me"}, "X-A": {"1", "2"}, "Host": {"example.org"}},
		},
		"empty": {
			[]v1.HTTPHeader{{Name: "User-Agent"}, {Name: "Accept"}},
			http.Header{"Host": {self}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := attempt(t, port, 10*time.Second, v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt(port), HTTPHeaders: tc.given}})
			if err != nil || !a.ok {
				t.Fatal(a, err)
			}
			got.Del("Connection")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The node's proxy is for the node's own traffic.
func TestHTTPIgnoresProxy(t *testing.T) {
	proxy := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	t.Setenv("HTTP_PROXY", "http://"+proxy)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got, err := newHTTPHandler().get(ctx, "192.0.2.2", 80, &v1.HTTPGetAction{})
	if err != nil {
		t.Fatal(err)
	}
	if got.ok || strings.Contains(got.output, proxy) {
		t.Errorf("%+v", got)
	}
}

func TestHostOverridesAddress(t *testing.T) {
	req, err := newRequest(t.Context(), "10.1.0.2", 80, &v1.HTTPGetAction{Host: "fd00::1", Scheme: "HTTPS"})
	if err != nil || req.URL.String() != "https://[fd00::1]:80/" {
		t.Errorf("%v, %v", req, err)
	}
}

func TestTCP(t *testing.T) {
	server := httptest.NewServer(newWeb(t))
	defer server.Close()
	port := portOfServer(t, server)
	got, err := attempt(t, port, time.Minute, v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromString("web")}})
	if err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, got, answer{ok: true})

	port = freePort(t)
	got, err = attempt(t, port, time.Minute, v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Host: "127.0.0.1", Port: intstr.FromInt(port)}})
	if err != nil {
		t.Fatal(err)
	}
	expectAnswer(t, got, answer{output: fmt.Sprintf("dial tcp 127.0.0.1:%d: connect: connection refused", port)})
}

func TestGRPC(t *testing.T) {
	states := healthserver.NewServer()
	states.SetServingStatus("sick", health.HealthCheckResponse_NOT_SERVING)
	listen := func(register bool) int {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		if register {
			health.RegisterHealthServer(server, states)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve(l) }()
		t.Cleanup(func() { server.Stop(); <-done })
		return l.Addr().(*net.TCPAddr).Port
	}
	healthy, without, none := listen(true), listen(false), freePort(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, tc := range map[string]struct {
		port    int
		service *string
		want    answer
	}{
		"server":       {healthy, nil, answer{ok: true}},
		"sick service": {healthy, new("sick"), answer{output: `service unhealthy (responded with "NOT_SERVING")`}},
		"no service":   {healthy, new("other"), answer{output: "error: health rpc probe failed: rpc error: code = NotFound"}},
		"no protocol":  {without, nil, answer{output: "error: this server does not implement the grpc health protocol"}},
		"no server":    {none, nil, answer{output: fmt.Sprintf(`failed to connect service "127.0.0.1:%d": `, none)}},
		"no answer":    {silent.Addr().(*net.TCPAddr).Port, nil, answer{output: "timeout: health rpc did not complete"}},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := 10 * time.Second
			if name == "no answer" {
				timeout = 100 * time.Millisecond
			}
			got, err := attempt(t, 0, timeout, v1.ProbeHandler{GRPC: &v1.GRPCAction{Port: int32(tc.port), Service: tc.service}})
			if err != nil {
				t.Fatal(err)
			}
			expectAnswer(t, got, tc.want)
		})
	}
}

func TestExec(t *testing.T) {
	for name, tc := range map[string]struct {
		out  string
		exit int
		err  error
		want answer
	}{
		"success":  {"fine", 0, nil, answer{ok: true, output: "fine"}},
		"failure":  {"broken\xff", 3, nil, answer{output: "broken"}},
		"too long": {strings.Repeat("x", 2*maxOutput), 1, nil, answer{output: strings.Repeat("x", maxOutput)}},
		"timeout":  {"", 0, fmt.Errorf("exec: %w", context.DeadlineExceeded), answer{output: `command timed out: "test v1" timed out after 2s`}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandlers(Options{Exec: func(_ context.Context, id string, cmd []string, timeout time.Duration) ([]byte, int, error) {
				if diff := cmp.Diff([]string{"test", "v1"}, cmd); diff != "" || id != "a" || timeout != 2*time.Second {
					t.Errorf("in %s with timeout %s: %s", id, timeout, diff)
				}
				return []byte(tc.out), tc.exit, tc.err
			}})
			c := &container{id: "a", spec: &v1.Container{Env: []v1.EnvVar{{Name: "V", Value: "v1"}}}}
			got, err := h.handle(t.Context(), c, &v1.Probe{
				TimeoutSeconds: 2, ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"test", "$(V)"}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			expectAnswer(t, got, tc.want)
			if len(got.output) != len(tc.want.output) {
				t.Errorf("output of %d bytes", len(got.output))
			}
		})
	}
}

func TestAttemptsThatCannotBeMade(t *testing.T) {
	down := newHandlers(Options{Exec: func(context.Context, string, []string, time.Duration) ([]byte, int, error) {
		return nil, 0, errors.New("runtime is down")
	}})
	for want, h := range map[string]v1.ProbeHandler{
		"runtime is down":            {Exec: &v1.ExecAction{}},
		`has no port named "web"`:    {HTTPGet: &v1.HTTPGetAction{Port: intstr.FromString("web")}},
		"invalid port number: 70000": {TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt(70000)}},
		"the probe has no handler":   {},
	} {
		_, err := down.handle(t.Context(), &container{spec: &v1.Container{Name: "c"}}, &v1.Probe{ProbeHandler: h})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestExpand(t *testing.T) {
	env := []v1.EnvVar{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}, {Name: "FROM", ValueFrom: &v1.EnvVarSource{}}}
	for in, want := range map[string]string{
		"$(A)": "2", "x$(A)y$(A)": "x2y2", "$$(A)": "$(A)", "$$$(A)": "$2", "$(B)": "$(B)", "$A": "$A", "$(A": "$(A", "$(FROM)": "",
	} {
		if got := expand([]string{in}, env)[0]; got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
