package service

import (
	"errors"
	"io"
	"os/exec"
	"testing"
	"time"

	"boot.internal/backoff"
	"boot.internal/filelock"
)

func TestClaim(t *testing.T) {
	dir := t.TempDir()
	first, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Claim(dir)
	if !errors.Is(err, filelock.ErrHeld) {
		t.Fatal(err)
	}
	wantParts(t, hintOf(err), "boot reset", "kubelet.pid")
	first.Release()
	second, err := Claim(dir)
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
}

func TestLoopStartedByHandIsStopped(t *testing.T) {
	o := newOptions(t, "ready")
	m := manager(t, o)
	cmd := exec.Command(o.Executable, o.Args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	awaitClaim(t, o, out)
	go func() { ended <- cmd.Wait() }()
	mustRun(t, m, false) // as a service it does not
	mustBeLeft(t, m, true)
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it did not end well: %v", err)
	}
	mustBeLeft(t, m, false)
}

// awaitClaim waits until the loop, which handles signals before it says
// anything, has claimed the host.
func awaitClaim(t *testing.T, o Options, out io.Reader) {
	t.Helper()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for t.Context().Err() == nil {
		if id, err := claimer(o.RunDir); err == nil && id.Alive() {
			return
		}
		backoff.Sleep(t.Context(), time.Millisecond)
	}
}
