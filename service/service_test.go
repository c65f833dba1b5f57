package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"boot.internal/filelock"
	"boot.internal/process"
)

// The test binary is also the loop and its supervisor: with "loop" as first
// argument it is one of them, and then comes what to do.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "loop" {
		os.Exit(loop(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func loop(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if n := len(args) - 1; args[n] == SuperviseFlag {
		o := Options{Args: args[:n], RunDir: os.Getenv("TEST_RUN"), LogFile: os.Getenv("TEST_LOG")}
		if err := Supervise(ctx, o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}
	fmt.Println("loop says:", strings.Join(args, " "))
	lock, err := Claim(os.Getenv("TEST_RUN"))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer lock.Release()
	switch args[1] {
	case "crash":
		fmt.Println("config.yaml:3: unknown field")
		return 7
	case "never-ready":
		<-ctx.Done()
		return 0
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		ctx = context.Background()
	}
	if err := Ready(); err != nil {
		fmt.Println(err)
		return 1
	}
	<-ctx.Done()
	return 0
}

// newOptions is a service of its own, ended with the test.
func newOptions(t *testing.T, args ...string) Options {
	t.Helper()
	dir := t.TempDir()
	o, err := Options{
		Args: append([]string{"loop"}, args...), RunDir: filepath.Join(dir, "run"),
		LogFile: filepath.Join(dir, "log", "kubelet.log"), root: dir,
	}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_RUN", o.RunDir)
	t.Setenv("TEST_LOG", o.LogFile)
	t.Setenv("GORACE", "atexit_sleep_ms=0") // in the children
	t.Cleanup(func() {
		if err := (detached{o}).stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return o
}

func manager(t *testing.T, o Options) *Manager {
	t.Helper()
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustStart(t *testing.T, m *Manager) State {
	t.Helper()
	if err := m.Start(t.Context()); err != nil {
		t.Fatalf("start: %v, hint %s", err, hintOf(err))
	}
	s, err := ReadState(m.o.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRun(t *testing.T, m *Manager, want bool) {
	t.Helper()
	got, err := m.Running(t.Context())
	if err != nil || got != want {
		t.Fatalf("running %v, %v; want %v", got, err, want)
	}
}

// awaitState waits for a state.
func awaitState(t *testing.T, o Options, ok func(State) bool) State {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	if err := w.Add(o.RunDir); err != nil {
		t.Fatal(err)
	}
	for {
		s, err := ReadState(o.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		select {
		case <-w.Events:
		case <-t.Context().Done():
			t.Fatalf("last state %+v", s)
		}
	}
}

func hintOf(err error) string {
	h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err)
	if !ok {
		return ""
	}
	return h.Hint()
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func TestDetachedLivesOn(t *testing.T) {
	m := manager(t, newOptions(t, "ready"))
	if m.Kind() != Detached {
		t.Fatalf("kind %s", m.Kind())
	}
	mustRun(t, m, false)
	mustBeLeft(t, m, false)
	s := mustStart(t, m)
	mustRun(t, m, true)
	mustBeLeft(t, m, true)
	if again := mustStart(t, m); again.Loop != s.Loop {
		t.Error("started a running loop anew")
	}
	session, err := unix.Getsid(s.Supervisor.PID)
	if err != nil || session != s.Supervisor.PID {
		t.Errorf("the supervisor is in session %d, %v", session, err)
	}
	log, err := os.ReadFile(m.LogHint())
	if err != nil || !strings.Contains(string(log), "loop says: loop ready") {
		t.Errorf("log %q, %v", log, err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Loop.Alive() || s.Supervisor.Alive() {
		t.Error("still alive after stop")
	}
	mustRun(t, m, false)
	mustBeLeft(t, m, false)
	if err := m.Stop(t.Context()); err != nil {
		t.Errorf("stop again: %v", err)
	}
}

func mustBeLeft(t *testing.T, m *Manager, want bool) {
	t.Helper()
	got, err := m.Left(t.Context())
	if err != nil || got != want {
		t.Fatalf("left %v, %v; want %v", got, err, want)
	}
}

func TestKilledLoopIsRestarted(t *testing.T) {
	m := manager(t, newOptions(t, "ready"))
	first := mustStart(t, m)
	if err := first.Loop.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := awaitState(t, m.o, func(s State) bool { return s.Exits == 1 && s.Ready })
	if second.Loop == first.Loop || second.Supervisor != first.Supervisor || !strings.Contains(second.Last, "killed") {
		t.Errorf("first %+v, second %+v", first, second)
	}
	mustRun(t, m, true)
}

func TestLoopDiesWithItsSupervisor(t *testing.T) {
	m := manager(t, newOptions(t, "stubborn"))
	first := mustStart(t, m)
	if err := first.Supervisor.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := first.Loop.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, m, false)
	second := mustStart(t, m)
	if second.Loop == first.Loop {
		t.Error("the same loop")
	}
	// It would take its time to end otherwise.
	if err := second.Supervisor.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestFailedStartShowsTheLogAndLeavesNothing(t *testing.T) {
	m := manager(t, newOptions(t, "crash"))
	err := m.Start(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	wantParts(t, err.Error(), "ended while starting: exit status 7")
	wantParts(t, hintOf(err), "kubelet.log:", "config.yaml:3: unknown field")
	s, err := ReadState(m.o.RunDir)
	if err != nil || s.Supervisor.Alive() {
		t.Errorf("left running: %+v, %v", s, err)
	}
}

func TestStartWithoutProgram(t *testing.T) {
	o := newOptions(t, "ready")
	o.Executable = filepath.Join(t.TempDir(), "gone")
	err := manager(t, o).Start(t.Context())
	if !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestStartHasADeadline(t *testing.T) {
	// How long is enough for a loop to start and say so is not known of a busy machine.
	for timeout := 2 * time.Second; ; timeout *= 2 {
		o := newOptions(t, "never-ready")
		o.StartTimeout = timeout
		ctx, cancel := context.WithCancel(t.Context())
		go daemonNotify(ctx, filepath.Join(o.RunDir, "notify.sock")) // somebody else's readiness does not count
		err := manager(t, o).Start(t.Context())
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		hint := hintOf(err)
		if strings.Contains(hint, "loop says: loop never-ready") {
			return
		}
		if timeout > time.Minute {
			t.Fatalf("the end of the loop's log is not in the hint: %q", hint)
		}
	}
}

// daemonNotify says READY=1 as soon as there is a socket.
func daemonNotify(ctx context.Context, path string) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		if conn, err := dialNotify(path); err == nil {
			_, _ = io.WriteString(conn, daemon.SdNotifyReady)
			_ = conn.Close()
			return
		}
	}
}

func TestOtherArgumentsOrProgramReplaceTheLoop(t *testing.T) {
	o := newOptions(t, "ready", "one")
	o.Executable = copyProgram(t, o.Executable)
	first := mustStart(t, manager(t, o))

	o.Args = []string{"loop", "ready", "two words"}
	m := manager(t, o)
	mustRun(t, m, false)
	second := mustStart(t, m)
	if first.Loop.Alive() || first.Supervisor.Alive() || !slices.Equal(second.Args, o.Args) {
		t.Errorf("first %+v, second %+v", first, second)
	}

	if err := os.Rename(copyProgram(t, o.Executable), o.Executable); err != nil {
		t.Fatal(err)
	}
	mustRun(t, m, false)
	third := mustStart(t, m)
	if second.Loop.Alive() || !third.Loop.Alive() {
		t.Error("the program that was replaced still runs")
	}
}

func copyProgram(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(out, data, 0o700); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestThereIsOneSupervisor(t *testing.T) {
	m := manager(t, newOptions(t, "ready"))
	mustStart(t, m)
	if err := Supervise(t.Context(), m.o); !errors.Is(err, filelock.ErrHeld) {
		t.Fatal(err)
	}
	mustRun(t, m, true)
}

func TestSupervisorIsStoppedInThePause(t *testing.T) {
	o := newOptions(t, "crash")
	if err := os.MkdirAll(o.RunDir, 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Supervise(ctx, o) }()
	awaitState(t, o, func(s State) bool { return s.Exits >= 2 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s, err := ReadState(o.RunDir); err != nil || s.Supervisor != (process.ID{}) {
		t.Errorf("state left: %+v, %v", s, err)
	}
}

// Where it may be, the loop is the last that the kernel kills for memory.
func TestProtected(t *testing.T) {
	const own = "/proc/self/oom_score_adj"
	want, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if os.WriteFile(own, []byte(oomScore), 0) == nil { // whoever may do so may take it back
		if err := os.WriteFile(own, want, 0); err != nil {
			t.Fatal(err)
		}
		want = []byte(oomScore + "\n")
	}
	m := manager(t, newOptions(t, "ready"))
	s := mustStart(t, m)
	have, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.Loop.PID))
	if err != nil || string(have) != string(want) {
		t.Errorf("score %q, want %q: %v", have, want, err)
	}
}
