package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What a batch brings about is looked at when it is over, and what goes on beside a
// long one within moments.
func TestLooksWhileItActs(t *testing.T) {
	test(t, func(t *testing.T, n *node) {
		pulled := make(chan struct{})
		n.pull = func(context.Context, string) error { <-pulled; return nil }
		n.want(testPod("1"))
		before := n.looks() // the sandbox has been made: the last was at the start of the pull
		for range 5 {
			n.worker.Poke()
			synctest.Wait()
		}
		if got := n.looks() - before; got != 0 {
			t.Errorf("%d looks at once", got)
		}
		pass(lookWithin)
		if got := n.looks() - before; got != 1 {
			t.Errorf("%d looks within %s", got, lookWithin)
		}
		pass(time.Minute)
		n.worker.Poke() // by what the batch has brought about in the end
		synctest.Wait()
		if got := n.looks() - before; got != 1 {
			t.Errorf("%d looks before the batch is over", got)
		}
		close(pulled)
		synctest.Wait()
		n.expectRunning("main")
		settled := n.looks()
		pass(time.Minute)
		if got := n.looks() - settled; got != 0 {
			t.Errorf("%d looks at a pod that runs", got)
		}
	})
}

// looks returns how often the pod was looked at.
func (n *node) looks() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.said)
}
