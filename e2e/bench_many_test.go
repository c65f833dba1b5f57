package e2e

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// benchMany runs many pods at once: with boot, and with bare CRI calls for
// eight pods at a time.
func (y *yard) benchMany(b *testing.B, results *table) {
	b.Helper()
	bare := y.bareMany(b)
	names := manyNames()
	for _, name := range names {
		y.place(b, name)
	}
	pods := y.watch(b)
	begin := time.Now()
	for _, name := range names {
		y.show(b, name)
	}
	y.awaitReady(b, pods, names...)
	shown := time.Since(begin)
	last := begin
	for _, name := range names {
		if at := y.awaitStarted(b, name, 0); at.After(last) {
			last = at
		}
	}
	results.row(fmt.Sprintf("%d pods at once → all running", manyPods), seconds, "").took(last.Sub(begin), bare)
	results.row(fmt.Sprintf("%d pods at once → all mirrors Ready", manyPods), seconds, "≤ 1.15").took(shown, bare)
	results.row("60 pods at once → all mirrors Ready; bare: kubelet", seconds, "").took(shown, 0)
	benchLoop(b, y.n, results, manyMore())
	for _, name := range names {
		y.take(b, name)
	}
	y.awaitGone(b, names...)
}

func manyNames() []string {
	names := make([]string, manyPods)
	for i := range names {
		names[i] = fmt.Sprintf("many-%d", i)
	}
	return names
}

func manyMore() string { return fmt.Sprintf("%d pods more", manyPods) }

// bareMany measures bare CRI calls, until the last container has started, and
// takes the pods away again.
func (y *yard) bareMany(b *testing.B) time.Duration {
	b.Helper()
	pods := make([]*bare, manyPods)
	started := make([]time.Time, manyPods)
	begin := time.Now()
	each := func(do func(i int) error) {
		b.Helper()
		var g errgroup.Group
		g.SetLimit(8)
		for i := range pods {
			g.Go(func() error { return do(i) })
		}
		if err := g.Wait(); err != nil {
			b.Fatal(err)
		}
	}
	each(func(i int) (err error) {
		pods[i] = newBare(y.engine, fmt.Sprintf("many-%d", i))
		started[i], err = pods[i].run(b)
		return err
	})
	took := time.Since(begin)
	each(func(i int) error { return pods[i].remove(b) })
	return took
}
