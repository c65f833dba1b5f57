package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalled is how long a process may take to do what no process can refuse.
const signalled = time.Minute

// Halt stops a process of the node where it is, until it gets SIGCONT. When Halt
// returns, none of its threads does anything any more.
func (n *Node) Halt(t testing.TB, p Process) {
	t.Helper()
	n.Kill(t, p, syscall.SIGSTOP)
	Until(t, signalled, "halt "+p.String(), func(context.Context) error { return p.threadsAre("T") })
}

// End kills a process of the node. When End returns, nothing is left of it but what
// its parent has yet to take note of.
func (n *Node) End(t testing.TB, p Process) {
	t.Helper()
	n.Kill(t, p, syscall.SIGKILL)
	Until(t, signalled, "end "+p.String(), func(context.Context) error { return p.threadsAre("Z") })
}

// threadsAre returns why not all threads of a process that are there are in a state
// that the kernel has a letter for.
func (p Process) threadsAre(state string) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.host))
	if err != nil {
		return err
	}
	for _, file := range tasks {
		stat, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return err
		}
		after := string(stat)[strings.LastIndexByte(string(stat), ')')+1:] // the name may have anything in it
		if is := strings.Fields(after)[0]; is != state {
			return fmt.Errorf("%s is in state %s, not %s", filepath.Dir(file), is, state)
		}
	}
	return nil
}
