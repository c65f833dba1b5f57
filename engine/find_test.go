package engine

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeCRI answers for its version and nothing else.
type fakeCRI struct {
	runtimev1.UnimplementedRuntimeServiceServer
}

func (fakeCRI) Version(context.Context, *runtimev1.VersionRequest) (*runtimev1.VersionResponse, error) {
	return &runtimev1.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1"}, nil
}

// startingCRI says a few times that it is not ready yet, as containerd does.
type startingCRI struct {
	fakeCRI
	refusals atomic.Int32
}

func (c *startingCRI) Version(ctx context.Context, r *runtimev1.VersionRequest) (*runtimev1.VersionResponse, error) {
	if c.refusals.Add(-1) >= 0 {
		return nil, status.Error(codes.Unavailable, "server is not initialized yet")
	}
	return c.fakeCRI.Version(ctx, r)
}

func TestEngineThatStartsIsWaitedFor(t *testing.T) {
	path := filepath.Join(shortDir(t), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s, cri := grpc.NewServer(), new(startingCRI)
	cri.refusals.Store(4)
	runtimev1.RegisterRuntimeServiceServer(s, cri)
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	if _, err := answers(t.Context(), path, false); status.Code(err) != codes.Unavailable {
		t.Errorf("not waited for: %v", err)
	}
	if _, err := answers(t.Context(), path, true); err != nil {
		t.Error(err)
	}
}

// listen serves gRPC at path, with the CRI plugin or without.
func listen(t *testing.T, path string, cri bool) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	if cri {
		runtimev1.RegisterRuntimeServiceServer(s, fakeCRI{})
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
}

func TestFind(t *testing.T) {
	const a, b, own = "a.sock", "b.sock", "run/containerd.sock"
	for name, tc := range map[string]struct {
		socket string // relative; "" looks
		mode   Mode
		cri    []string // answer
		mute   []string // are there, without CRI
		ran    bool     // boot's own has run here
		want   string
		errs   []string
	}{
		"nothing there":               {want: own},
		"first well-known":            {cri: []string{a, b}, want: a},
		"second, first has no CRI":    {mute: []string{a}, cri: []string{b}, want: b},
		"own once it has run":         {cri: []string{a}, ran: true, want: own},
		"named":                       {socket: b, cri: []string{a, b}, want: b},
		"named over own":              {socket: b, cri: []string{b}, ran: true, want: b},
		"named, own":                  {socket: own, cri: []string{a}, want: own},
		"named, not there":            {socket: b, cri: []string{a}, errs: []string{b, "no such file"}},
		"named, no CRI":               {socket: b, mute: []string{b}, errs: []string{b, "unknown service"}},
		"bundled":                     {mode: Bundled, cri: []string{a}, want: own},
		"socket":                      {mode: Socket, cri: []string{b}, want: b},
		"socket, own has run":         {mode: Socket, cri: []string{b}, ran: true, want: b},
		"socket, nobody":              {mode: Socket, errs: []string{"no container engine answers", a, b}},
		"mode that is none":           {mode: "x", errs: []string{`engine mode "x"`}},
		"mode bundled, socket of own": {mode: Bundled, socket: own, want: own},
	} {
		t.Run(name, func(t *testing.T) {
			dir := shortDir(t)
			for _, s := range tc.cri {
				listen(t, filepath.Join(dir, s), true)
			}
			for _, s := range tc.mute {
				listen(t, filepath.Join(dir, s), false)
			}
			o := Options{
				Mode: tc.mode, Dir: dir, RunDir: filepath.Join(dir, "run"),
				wellKnown: []string{filepath.Join(dir, a), filepath.Join(dir, b)},
			}
			if tc.socket != "" {
				o.Socket = "unix://" + filepath.Join(dir, tc.socket)
			}
			if tc.ran {
				mkdir(t, filepath.Join(dir, "containerd"))
				write(t, filepath.Join(dir, "containerd", "config.toml"), nil)
			}
			e, err := Find(t.Context(), o)
			if len(tc.errs) > 0 {
				wantParts(t, err, tc.errs...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := e.Endpoint(); got != "unix://"+filepath.Join(dir, tc.want) {
				t.Errorf("found %s, want %s", got, tc.want)
			}
			if e.Own() != (tc.want == own) {
				t.Errorf("own: %v", e.Own())
			}
		})
	}
}

func TestFindRefusesARunDirTooLongForSockets(t *testing.T) {
	_, err := Find(t.Context(), Options{RunDir: "/" + strings.Repeat("x", 36)})
	wantParts(t, err, "at most 36 bytes")
}

func TestNoEngineIsRecognisableAndHasAHint(t *testing.T) {
	_, err := Find(t.Context(), Options{Mode: Socket, wellKnown: []string{"/nonexistent"}})
	if !errors.Is(err, ErrNoEngine) {
		t.Fatal(err)
	}
	h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok || !strings.Contains(h.Hint(), "--cri-socket") {
		t.Errorf("no hint: %v", err)
	}
}

// Another engine is only waited for, never stopped.
func TestEngineOfOthersIsLeftAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "a.sock")
	listen(t, path, true)
	dir := t.TempDir()
	e, err := Find(t.Context(), Options{Socket: path, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e.Run(ctx)
	if _, err := answers(t.Context(), path, false); err != nil {
		t.Fatal(err)
	}

	// It is used from now on, also while it is not there yet.
	again, err := Find(t.Context(), Options{Dir: dir, wellKnown: []string{}})
	if err != nil || again.Endpoint() != e.Endpoint() || again.Own() {
		t.Errorf("found %+v, %v", again, err)
	}
}

func TestCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		e    *Engine
		want error
	}{
		"of others":          {e: &Engine{}},
		"own, in the binary": {e: &Engine{own: true, o: Options{Archive: packed{}}}},
		"own, not there":     {e: &Engine{own: true, o: Options{Archive: File("/nonexistent")}}, want: os.ErrNotExist},
	} {
		if err := tc.e.Check(t.Context()); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

func TestStartReportsWhyOthersDoNotAnswer(t *testing.T) {
	path := filepath.Join(shortDir(t), "a.sock")
	listen(t, path, false)
	e, err := Find(t.Context(), Options{Dir: t.TempDir(), wellKnown: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	e = &Engine{o: e.o, socket: path + ".gone"}
	e.o.StartTimeout = 50 * time.Millisecond
	wantParts(t, e.Start(t.Context()), "a.sock.gone", "no such file")
}

// shortDir is a directory whose name leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") //nolint:usetesting // the names of t.TempDir are too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}
