package timerslack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// withoutCEnv says that this is the test again, built without C.
const withoutCEnv = "BOOT_TEST_WITHOUT_C"

// The thread that gets the slack is the one that goes on sleeping by the clock while
// there is something to do. With C in the program, as with the
// race detector, none gets it.
func TestRelax(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if os.Getenv(withoutCEnv) == "" {
		if err := Relax(time.Millisecond); withoutC() != (err == nil) {
			t.Errorf("without C: %v; relaxed: %v", withoutC(), err)
		}
		again := exec.CommandContext(ctx, "go", "test", "-count=1", "-run=^TestRelax$", ".")
		again.Env = append(os.Environ(), withoutCEnv+"=1", "CGO_ENABLED=0")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("without C: %v\n%s", err, out)
		}
		return
	}
	own, err := read(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	slack := 2 * time.Duration(own) // so that no thread sleeps for a whole round in any case
	if err := Relax(slack); err != nil {
		t.Fatal(err)
	}
	if got, err := read(os.Getpid()); err != nil || got != own {
		t.Errorf("the process has %d ns, %v, instead of %d", got, err, own)
	}
	sleepsByTheClock(ctx, t, relaxed(t, slack))
}

// relaxed returns the thread that has this slack.
func relaxed(t *testing.T, slack time.Duration) int {
	t.Helper()
	tids, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(tids) // the others with that slack inherited it
	for _, tid := range tids {
		if got, err := read(tid); err == nil && time.Duration(got) == slack {
			return tid
		}
	}
	t.Fatalf("none of the threads %d has a slack of %s", tids, slack)
	return 0
}

// sleepsByTheClock watches a thread, without ever waiting for anything, until it is asleep
// for a certain time (nanosleep) at most looks of a round. Threads that have nothing to
// do sleep until they are woken up.
func sleepsByTheClock(ctx context.Context, t *testing.T, tid int) {
	t.Helper()
	const round = 500
	for ctx.Err() == nil {
		asleep := 0
		for range round {
			if call(t, tid) == unix.SYS_NANOSLEEP {
				asleep++
			}
		}
		if asleep > round/2 {
			return
		}
	}
	t.Fatalf("thread %d is not the runtime's watch", tid)
}

// call returns the number of the system call that a thread is blocked in, or -1.
func call(t *testing.T, tid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", tid))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(string(text), "running") {
		return -1
	}
	var n int
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return n
}
