package plugin

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const patience = time.Minute

// A program is a plugin that serves its registration socket.
type program struct {
	registration.UnimplementedRegistrationServer
	info registration.PluginInfo
	told chan *registration.RegistrationStatus
	mute chan struct{} // if not nil, nothing is answered before it is closed
}

func (p *program) GetInfo(ctx context.Context, _ *registration.InfoRequest) (*registration.PluginInfo, error) {
	if p.mute != nil {
		select {
		case <-p.mute:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &registration.PluginInfo{
		Type: p.info.Type, Name: p.info.Name, Endpoint: p.info.Endpoint, SupportedVersions: p.info.SupportedVersions,
	}, nil
}

func (p *program) NotifyRegistrationStatus(_ context.Context, s *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	p.told <- s
	return &registration.RegistrationStatusResponse{}, nil
}

// serve has a plugin serve at path until the returned func is called, which
// removes the socket.
func serve(t *testing.T, path string, kind Type, name string) (p *program, stop func()) {
	t.Helper()
	p = &program{told: make(chan *registration.RegistrationStatus, 100)}
	p.info = registration.PluginInfo{Type: string(kind), Name: name, SupportedVersions: []string{"1.0.0"}}
	return p, p.listen(t, path)
}

func (p *program) listen(t *testing.T, path string) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	registration.RegisterRegistrationServer(s, p)
	go func() { _ = s.Serve(l) }()
	stop = sync.OnceFunc(s.Stop)
	t.Cleanup(stop)
	return stop
}

// A recorder is a handler that notes what it is called for.
type recorder struct {
	calls    chan string
	validate func(Plugin) error
	register func(Plugin) error
}

func newRecorder() *recorder {
	fine := func(Plugin) error { return nil }
	return &recorder{calls: make(chan string, 100), validate: fine, register: fine}
}

func (r *recorder) Validate(_ context.Context, p Plugin) error { return r.validate(p) }

func (r *recorder) Register(_ context.Context, p Plugin) error {
	r.calls <- "register " + p.Name + " " + filepath.Base(p.Endpoint)
	return r.register(p)
}

func (r *recorder) Deregister(_ context.Context, p Plugin) {
	r.calls <- "deregister " + p.Name + " " + filepath.Base(p.Endpoint)
}

// expect waits for the next calls.
func (r *recorder) expect(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-r.calls:
			if got != w {
				t.Fatalf("handler was called to %q, want %q", got, w)
			}
		case <-time.After(patience):
			t.Fatalf("handler was not called to %q", w)
		}
	}
}

// watch runs a watcher on a new directory until the test ends.
func watch(t *testing.T, r *recorder) (dir string, stop func()) {
	t.Helper()
	// Paths of sockets are short.
	dir, err := os.MkdirTemp("", "plugin") //nolint:usetesting // it is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, run(t, dir, r)
}

func run(t *testing.T, dir string, r *recorder) (stop func()) {
	t.Helper()
	w := New(Options{Dir: dir, Handlers: map[Type]Handler{CSI: r}, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var life sync.WaitGroup
	life.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); life.Wait() })
	t.Cleanup(stop)
	return stop
}

func status(t *testing.T, p *program) *registration.RegistrationStatus {
	t.Helper()
	select {
	case s := <-p.told:
		return s
	case <-time.After(patience):
		t.Fatal("the plugin was told nothing")
		return nil
	}
}

func TestSocketComesAndGoes(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	var seen Plugin
	r.validate = func(p Plugin) error { seen = p; return nil }
	p, stop := serve(t, dir+"/a.sock", CSI, "one")
	r.expect(t, "register one a.sock")
	if s := status(t, p); !s.PluginRegistered || s.Error != "" {
		t.Errorf("the plugin was told %v", s)
	}
	want := Plugin{Type: CSI, Name: "one", Endpoint: dir + "/a.sock", Versions: []string{"1.0.0"}, Socket: dir + "/a.sock"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	stop()
	r.expect(t, "deregister one a.sock")
	_, _ = serve(t, dir+"/a.sock", CSI, "one")
	r.expect(t, "register one a.sock")
}

func TestSocketsOfBefore(t *testing.T) {
	r := newRecorder()
	dir, stop := watch(t, r)
	stop()
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _ = serve(t, dir+"/.hidden", CSI, "hidden")
	_, _ = serve(t, dir+"/sub/a", CSI, "one")
	stop = run(t, dir, r)
	r.expect(t, "register one a")
	stop() // at the end of boot plugins are left alone
	run(t, dir, r)
	r.expect(t, "register one a")
	if len(r.calls) > 0 {
		t.Errorf("called to %s", <-r.calls)
	}
}

func TestDirectoryMadeLater(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	if err := os.Mkdir(dir+"/sub", 0o755); err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, dir+"/sub/a", CSI, "one")
	r.expect(t, "register one a")
	stop()
	r.expect(t, "deregister one a")
}

func TestRefused(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	r.validate = func(Plugin) error { return errors.New("too old") }
	p, _ := serve(t, dir+"/a", CSI, "one")
	if s := status(t, p); s.PluginRegistered || !strings.Contains(s.Error, "plugin validation failed with err: too old") {
		t.Errorf("the plugin was told %v", s)
	}
	p, _ = serve(t, dir+"/b", "Teapot", "two")
	if s := status(t, p); s.PluginRegistered || !strings.Contains(s.Error, "no handler registered for plugin type: Teapot") {
		t.Errorf("the plugin was told %v", s)
	}
	if len(r.calls) > 0 {
		t.Errorf("called to %s", <-r.calls)
	}
}

func TestTriedAgain(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	tries := 0
	r.register = func(Plugin) error {
		if tries++; tries < 2 {
			return errors.New("not yet")
		}
		return nil
	}
	p, _ := serve(t, dir+"/a", CSI, "one")
	r.expect(t, "register one a", "register one a")
	if s := status(t, p); s.PluginRegistered || !strings.Contains(s.Error, "not yet") {
		t.Errorf("the plugin was told %v", s)
	}
	if s := status(t, p); !s.PluginRegistered {
		t.Errorf("the plugin was told %v", s)
	}
}

// A plugin that does not answer holds up no other.
func TestMutePlugin(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	mute := &program{mute: make(chan struct{}), told: make(chan *registration.RegistrationStatus, 100)}
	mute.info = registration.PluginInfo{Type: string(CSI), Name: "mute"}
	stop := mute.listen(t, dir+"/a")
	_, _ = serve(t, dir+"/b", CSI, "two")
	r.expect(t, "register two b")
	close(mute.mute)
	r.expect(t, "register mute a")
	stop()
	r.expect(t, "deregister mute a")
}

// The socket that a name was registered on last counts.
func TestSameNameOnAnotherSocket(t *testing.T) {
	r := newRecorder()
	dir, _ := watch(t, r)
	p, stopOld := serve(t, dir+"/old", CSI, "one")
	r.expect(t, "register one old")
	status(t, p)
	p, stopNew := serve(t, dir+"/new", CSI, "one")
	r.expect(t, "register one new")
	status(t, p)
	stopOld()
	_, stopOther := serve(t, dir+"/other", CSI, "other")
	r.expect(t, "register other other")
	stopNew()
	r.expect(t, "deregister one new")
	stopOther()
	r.expect(t, "deregister other other")
}
