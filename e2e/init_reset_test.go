package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/e2e/internal/lab"
)

// Reset takes away whatever init and the pods have put on the machine, and can
// be run again, as can init after it.
func TestReset(t *testing.T) {
	n := lab.New(t) // without images: a purge takes those, too
	t.Cleanup(func() { checkLog(t, n) })
	before := n.State(t)
	reset := func(t *testing.T) {
		t.Helper()
		n.Boot(t, "reset", "--force", "--purge")
		after := slices.DeleteFunc(n.State(t), func(line string) bool { return strings.HasPrefix(line, leftover) })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("the machine (-before +after):\n%s", diff)
		}
	}
	t.Run("of a fresh machine", reset)
	t.Run("of a half-made cluster", func(t *testing.T) {
		n.Import(t)
		interrupt(t, n, "[control-plane/apiserver] done", syscall.SIGKILL)
		reset(t)
	})
	t.Run("of a cluster", func(t *testing.T) {
		n.Import(t)
		n.Boot(t, "init")
		waitReady(t, n)
		reset(t)
	})
	t.Run("twice", reset)
	t.Run("init again", func(t *testing.T) {
		n.Import(t)
		n.Boot(t, "init")
		waitReady(t, n)
	})
}

// leftover is the one file that reset leaves: iptables makes it where it is
// missing, and whoever else uses iptables on the machine shares it.
const leftover = "file /run/xtables.lock "
