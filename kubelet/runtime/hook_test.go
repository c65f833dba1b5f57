package runtime_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/spec"
)

// A pod on the host network has the node's address, where the test listens.
func TestHTTPHook(t *testing.T) {
	requests := make(chan *http.Request, 10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		w.WriteHeader(http.StatusTeapot) // any answer will do
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	closed := httptest.NewServer(handler)
	closed.Close()
	for _, c := range []struct {
		name string
		get  v1.HTTPGetAction
		want string // host and path of the request, "" if there is none
	}{
		{"by number", v1.HTTPGetAction{Path: "/stop?now=1", Port: intstr.FromInt32(port(t, plain))}, hostOf(plain) + "/stop?now=1"},
		{"by name", v1.HTTPGetAction{Port: intstr.FromString("web")}, hostOf(plain) + "/"},
		{"by number in a string", v1.HTTPGetAction{Port: intstr.FromString(strconv.Itoa(int(port(t, plain))))}, hostOf(plain) + "/"},
		{"to another host", v1.HTTPGetAction{Host: "localhost", Port: intstr.FromInt32(port(t, plain))}, "localhost:" + strconv.Itoa(int(port(t, plain))) + "/"},
		{"with headers", v1.HTTPGetAction{Port: intstr.FromInt32(port(t, plain)), HTTPHeaders: []v1.HTTPHeader{
			{Name: "host", Value: "front"}, {Name: "X-A", Value: "b"},
		}}, "front/"},
		{"encrypted", v1.HTTPGetAction{Scheme: v1.URISchemeHTTPS, Port: intstr.FromInt32(port(t, secure))}, hostOf(secure) + "/"},
		{"nobody there", v1.HTTPGetAction{Port: intstr.FromInt32(port(t, closed))}, ""},
		{"no such port", v1.HTTPGetAction{Port: intstr.FromString("nope")}, ""},
		{"no path", v1.HTTPGetAction{Path: "%zz", Port: intstr.FromInt32(port(t, plain))}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, o, w := newFake(t)
			o.Node = func() spec.Node { return spec.Node{CPUPeriod: 100 * time.Millisecond, IPs: []string{"127.0.0.1"}} }
			w.Runtime = runtime.New(o)
			p := onePod()
			p.Spec.HostNetwork = true
			p.Spec.Containers[0].Ports = []v1.ContainerPort{{Name: "web", ContainerPort: port(t, plain)}}
			p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: &v1.LifecycleHandler{HTTPGet: &c.get}}
			do(t, w, p, pod.CreateSandbox{}, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
			do(t, w, p, pod.KillContainer{Name: "a", ID: "container-2", Grace: time.Minute, Hook: true})
			failed := slices.Contains(w.Events.Of(p), "FailedPreStopHook")
			if failed != (c.want == "") {
				t.Errorf("events %q", w.Events.Of(p))
			}
			if c.want == "" {
				return
			}
			r := <-requests
			if got := r.Host + r.URL.String(); got != c.want {
				t.Errorf("asked for %s, want %s", got, c.want)
			}
			if len(c.get.HTTPHeaders) > 0 && r.Header.Get("X-A") != "b" {
				t.Errorf("headers %v", r.Header)
			}
		})
	}
}

func hostOf(s *httptest.Server) string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return err.Error()
	}
	return u.Host
}

func port(t *testing.T, s *httptest.Server) int32 {
	t.Helper()
	addr, ok := s.Listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal(s.Listener.Addr())
	}
	return int32(addr.Port)
}

// A hook of no kind, which validation refuses, is a failure and not a crash.
func TestNoHook(t *testing.T) {
	_, _, w := newFake(t)
	p := onePod()
	p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{TCPSocket: &v1.TCPSocketAction{}}}
	do(t, w, p, pod.CreateSandbox{})
	if err := w.Runtime.Do(t.Context(), p, pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}}); err == nil {
		t.Error("a hook of no kind ran")
	}
}
