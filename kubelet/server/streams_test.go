package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	crirc "k8s.io/cri-streaming/pkg/streaming/remotecommand"
)

// An engine streams like a container runtime: commands repeat their input after
// their name, and ports answer in capitals.
type engine struct {
	streaming.Server
	asked []string
}

func (e *engine) Exec(_ context.Context, r *cri.ExecRequest, _ ...grpc.CallOption) (*cri.ExecResponse, error) {
	e.asked = append(e.asked, fmt.Sprintf("exec %s %v tty=%v stderr=%v", r.GetContainerId(), r.GetCmd(), r.GetTty(), r.GetStderr()))
	return e.GetExec(r)
}

func (e *engine) Attach(_ context.Context, r *cri.AttachRequest, _ ...grpc.CallOption) (*cri.AttachResponse, error) {
	e.asked = append(e.asked, fmt.Sprintf("attach %s tty=%v stderr=%v", r.GetContainerId(), r.GetTty(), r.GetStderr()))
	return e.GetAttach(r)
}

func (e *engine) PortForward(_ context.Context, r *cri.PortForwardRequest, _ ...grpc.CallOption) (*cri.PortForwardResponse, error) {
	e.asked = append(e.asked, fmt.Sprintf("forward %s %v", r.GetPodSandboxId(), r.GetPort()))
	return e.GetPortForward(r)
}

// A process is what the engine runs.
type process struct{}

func (process) Exec(_ context.Context, _ string, cmd []string, in io.Reader, out, _ io.WriteCloser, _ bool, _ <-chan crirc.TerminalSize) error {
	if _, err := fmt.Fprint(out, cmd[0], ": "); err != nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

func (p process) Attach(ctx context.Context, id string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan crirc.TerminalSize) error {
	return p.Exec(ctx, id, []string{"attached"}, in, out, errs, tty, resize)
}

func (process) PortForward(_ context.Context, _ string, _ int32, s io.ReadWriteCloser) error {
	buf := make([]byte, 5)
	if _, err := io.ReadFull(s, buf); err != nil {
		return err
	}
	_, err := s.Write(bytes.ToUpper(buf))
	return errors.Join(err, s.Close())
}

// newStreaming starts a server over TLS in front of an engine.
func newStreaming(t *testing.T) (*engine, fixture, *rest.Config) {
	t.Helper()
	e := &engine{}
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.ServeHTTP(w, r) }))
	t.Cleanup(back.Close)
	config := streaming.DefaultConfig
	base, err := url.Parse(back.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.BaseURL = base
	if e.Server, err = streaming.NewServer(config, process{}); err != nil {
		t.Fatal(err)
	}
	p := v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "own"},
		Spec:       v1.PodSpec{Containers: []v1.Container{{Name: "c", TTY: true}, {Name: "done"}}},
		Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{
			{Name: "c", ContainerID: "containerd://id", State: v1.ContainerState{Running: &v1.ContainerStateRunning{}}},
			{Name: "done", ContainerID: "containerd://gone", State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}},
		}},
	}
	f := newFixture(t, func(o *Options) {
		o.Pods, o.Streams = pods{p}, e
		o.Sandbox = func(_ context.Context, uid types.UID) (string, error) { return "sandbox-of-" + string(uid), nil }
		o.MirrorUID = func(*v1.Pod) (types.UID, bool) { return "mirror", true }
	})
	f.api.rights["create proxy"] = true
	front := httptest.NewTLSServer(f.Handler())
	t.Cleanup(front.Close)
	return e, f, &rest.Config{Host: front.URL, BearerToken: "good", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
}

func at(t *testing.T, c *rest.Config, path string) *url.URL {
	t.Helper()
	u, err := url.Parse(c.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestStreams(t *testing.T) {
	e, _, config := newStreaming(t)
	for _, c := range []struct{ name, path, out, asked string }{
		{"exec", "/exec/ns/p/c?command=cat&command=-u&input=1&output=1&error=1", "cat: hello", "exec id [cat -u] tty=false stderr=true"},
		{"SP-57 by the mirror's UID", "/exec/ns/p/mirror/c?command=cat&input=1&output=1&tty=1&error=1", "cat: hello", "exec id [cat] tty=true stderr=false"},
		{"SP-57 by its own UID", "/exec/ns/p/own/c?command=cat&input=1&output=1", "cat: hello", "exec id [cat] tty=false stderr=false"},
		{"attach to a terminal", "/attach/ns/p/c?input=1&output=1&error=1", "attached: hello", "attach id tty=true stderr=false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e.asked = nil
			executor, err := remotecommand.NewSPDYExecutor(config, http.MethodPost, at(t, config, c.path))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			o := remotecommand.StreamOptions{
				Stdin: strings.NewReader("hello"), Stdout: &out, Tty: strings.Contains(c.asked, "tty=true"),
			}
			if strings.HasSuffix(c.asked, "stderr=true") {
				o.Stderr = io.Discard
			}
			if err := executor.StreamWithContext(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			if out.String() != c.out || len(e.asked) != 1 || e.asked[0] != c.asked {
				t.Errorf("%q, asked %q", out.String(), e.asked)
			}
		})
	}
}

func TestPortForward(t *testing.T) {
	e, _, config := newStreaming(t)
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		t.Fatal(err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at(t, config, "/portForward/ns/p"))
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stream := func(kind string) io.ReadWriter {
		t.Helper()
		header := http.Header{}
		header.Set(v1.StreamType, kind)
		header.Set(v1.PortHeader, "80")
		header.Set(v1.PortForwardRequestIDHeader, "0")
		s, err := conn.CreateStream(header)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	stream(v1.StreamTypeError)
	data := stream(v1.StreamTypeData)
	if _, err := io.WriteString(data, "hello"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(data)
	if err != nil || string(answer) != "HELLO" || e.asked[0] != "forward sandbox-of-own []" {
		t.Errorf("%q, %v; asked %q", answer, err, e.asked)
	}
}

func TestStreamsRefused(t *testing.T) {
	_, f, _ := newStreaming(t)
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/exec/ns/none/c?command=x&output=1":         {404, "does not exist"},
		"/exec/ns/p/other/c?command=x&output=1":      {404, "does not exist"},
		"/exec/ns/p/done?command=x&output=1":         {500, "container not found (\"done\")"},
		"/exec/ns/p/c?command=x":                     {400, "at least 1 of"},
		"/attach/ns/p/nobody?output=1":               {500, "container not found (\"nobody\")"},
		"/portForward/ns/p?port=0":                   {400, "no port"},
		"/exec/ns/p/c?command=x&output=1&no=upgrade": {400, "Upgrade request required"},
	} {
		t.Run(path, func(t *testing.T) {
			got := f.get(path, f.client, "")
			if !strings.Contains(got.Body.String(), want.text) || got.Code != want.code && want.text != "Upgrade request required" {
				t.Errorf("%d %s", got.Code, got.Body)
			}
		})
	}
	t.Run("to run takes the right to create, whatever the method", func(t *testing.T) {
		f.api.rights = map[string]bool{"get proxy": true}
		f.auth = newAuthorizer(f.o)
		if got := f.get("/exec/ns/p/c?command=x&output=1", f.client, ""); got.Code != http.StatusForbidden {
			t.Errorf("%d %s", got.Code, got.Body)
		}
	})
	t.Run("not where debugging is off", func(t *testing.T) {
		f.api.rights = map[string]bool{"create proxy": true, "get proxy": true}
		f.auth = newAuthorizer(f.o)
		f.o.Config.EnableDebuggingHandlers = new(false)
		for _, path := range []string{"/exec/ns/p/c?command=x&output=1", "/containerLogs/ns/p/c", "/runningpods/"} {
			if got := f.get(path, f.client, ""); got.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d %s", path, got.Code, got.Body)
			}
		}
	})
}

func TestTLSSettings(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Config.TLSMinVersion = "VersionTLS13"
		o.Config.TLSCipherSuites = []string{"TLS_AES_128_GCM_SHA256"}
		o.Config.TLSCurvePreferences = []int32{29}
	})
	if f.tls.MinVersion != 0x0304 || len(f.tls.CipherSuites) != 1 || len(f.tls.CurvePreferences) != 1 {
		t.Errorf("%+v", f.tls)
	}
	for field, change := range map[string]func(*Options){
		"tlsMinVersion":   func(o *Options) { o.Config.TLSMinVersion = "old" },
		"tlsCipherSuites": func(o *Options) { o.Config.TLSCipherSuites = []string{"ROT13"} },
	} {
		o := f.o
		o.Config = o.Config.DeepCopy()
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
