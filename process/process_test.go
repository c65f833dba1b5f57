package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// sleeper starts a process that only a signal ends and that is reaped at once.
func sleeper(t *testing.T, script string) ID {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The first byte says that traps are set.
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	id, err := Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); <-done })
	return id
}

func TestParseStat(t *testing.T) {
	const line = "42 (a) R (b) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 2"
	got, err := parseStat(line)
	if err != nil || got != (stat{state: 'S', start: 777}) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "42 (a) S 1", "42 a S"} {
		if _, err := parseStat(bad); err == nil {
			t.Errorf("read %q", bad)
		}
	}
}

func TestPidFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "x.pid")
	self, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || got != self || !got.Alive() {
		t.Fatalf("read %v, %v; want %v", got, err, self)
	}
	if err := os.WriteFile(path, []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Fatal("read a pid file without start time")
	}
}

func TestAnotherProcessWithThePidIsLeftAlone(t *testing.T) {
	id := sleeper(t, "echo; exec sleep 1000")
	other := ID{PID: id.PID, Start: id.Start - 1}
	if other.Alive() {
		t.Error("taken for alive")
	}
	if err := other.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Fatal("killed somebody else")
	}
}

func TestWaitEndsWithTheProcess(t *testing.T) {
	id := sleeper(t, "echo; exec sleep 1000")
	got := make(chan error, 1)
	go func() { got <- id.Wait(t.Context()) }()
	if err := id.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Fatal("still alive")
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	id := sleeper(t, "echo; exec sleep 1000")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := id.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}

func TestTerminate(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		grace  time.Duration
	}{
		"polite":   {"echo; exec sleep 1000", time.Minute},
		"stubborn": {"trap '' TERM; echo; while :; do sleep 1000; done", 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			id := sleeper(t, tc.script)
			if err := id.Terminate(t.Context(), tc.grace); err != nil {
				t.Fatal(err)
			}
			if id.Alive() {
				t.Fatal("still alive")
			}
		})
	}
}

func TestExeAndAll(t *testing.T) {
	self, err := Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := All(func(id ID) bool { exe, err := id.Exe(); return err == nil && exe == want })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(mine, self) { // others may run the same
		t.Fatalf("got %v, want %v among them", mine, self)
	}
}
