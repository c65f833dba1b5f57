package timerslack

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a thread with another timer slack than the process was started with starts, has
// the former; unless it takes the latter first.
func TestOwn(t *testing.T) {
	own, err := read(os.Getpid())
	if err != nil {
		t.Skipf("reading another thread's timer slack takes CAP_SYS_NICE: %v", err)
	}
	onAnother(func() {
		const other = 7_000_000
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, other, 0, 0, 0); err != nil {
			t.Error(err)
		}
		if got := child(t); got != other {
			t.Errorf("a child has %d ns, and not its parent's %d", got, other)
		}
		release := Own()
		if got := child(t); got != own {
			t.Errorf("a child has %d ns instead of %d", got, own)
		}
		release()
	})
}

// onAnother calls f on a thread that is not the process's first, and ends with it.
func onAnother(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good, so that the thread ends here
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		onAnother(f) // not here, where we are
		runtime.UnlockOSThread()
	}()
	<-done
}

// child returns the timer slack of a process that the calling thread starts.
func child(t *testing.T) uint64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "cat", "/proc/self/timerslack_ns").Output()
	if err != nil {
		t.Error(err)
		return 0
	}
	slack, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return slack
}
