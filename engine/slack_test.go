package engine

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"boot.internal/nstest"
	"boot.internal/process"
)

// Whatever timer slack the thread has that starts the engine, engine and containers have
// that with which the process was started.
func TestRealEngineHasTheTimerSlackOfTheProcess(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	want := slackOf(t, os.Getpid())
	var id process.ID
	slacken(t, func() { id = mustStart(t, e) })
	mustImportPause(t, e)
	ctr := runPause(t, e)
	for name, pid := range map[string]int{"the engine": id.PID, "a container": ctr.pid.PID} {
		if got := slackOf(t, pid); got != want {
			t.Errorf("%s has %s instead of %s", name, got, want)
		}
	}
	ctr.remove(t)
}

// slacken calls f on a thread with another timer slack than the process was started with,
// which its first thread has.
func slacken(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread() // for good, so that the thread ends with the test
	if unix.Gettid() == os.Getpid() {
		done := make(chan struct{})
		go func() { defer close(done); slacken(t, f) }() // not here, where we are
		<-done
		runtime.UnlockOSThread()
		return
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 7_000_000, 0, 0, 0); err != nil {
		t.Error(err)
	}
	f()
}

// slackOf returns the timer slack of a thread, in nanoseconds, in a line.
func slackOf(t *testing.T, tid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/timerslack_ns", tid))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
