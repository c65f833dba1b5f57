package e2e

import (
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// benchJoin measures how long one more node takes, and a cluster of five from
// nothing. Their engines have the images, as those of machines that were made
// from one disk image have.
func benchJoin(b *testing.B, results *table) {
	b.Helper()
	f := newFleet(b, 1, 0)
	f.benchWorker(b, results)
	f.benchHead(b, results)
	for _, n := range f.nodes() {
		lab.Must(b, n.Close()) // the processor is for the next
	}
	benchFleet(b, results)
}

// benchWorker measures the join of a worker.
func (f *fleet) benchWorker(b *testing.B, results *table) {
	b.Helper()
	for _, name := range []string{"w1", "w2", "w3"} {
		n := furnished(b, f.lan, name)
		f.workers = append(f.workers, n)
		begin := time.Now()
		f.join(b, nil, []*lab.Node{n})
		results.row("boot join of a worker → returned", seconds, "").took(time.Since(begin), 0)
		f.awaitNodes(b, n)
		results.row("boot join of a worker → node and kube-proxy Ready", seconds, "").took(time.Since(begin), 0)
	}
}

// benchHead measures the join of a second control plane.
func (f *fleet) benchHead(b *testing.B, results *table) {
	b.Helper()
	n := furnished(b, f.lan, "cp2")
	f.heads = append(f.heads, n)
	begin := time.Now()
	f.join(b, []*lab.Node{n}, nil)
	results.row("boot join of a second control plane → returned", seconds, "").took(time.Since(begin), 0)
	waitReady(b, n)
	f.awaitNodes(b, n)
	results.row("boot join of a second control plane → all Ready", seconds, "").took(time.Since(begin), 0)
}

// benchFleet measures three control planes and two workers, from boot init on.
func benchFleet(b *testing.B, results *table) {
	b.Helper()
	f := emptyFleet(b, 3, 2)
	begin := time.Now()
	f.make(b)
	for _, n := range f.heads {
		waitReady(b, n)
	}
	f.awaitNodes(b, f.nodes()...)
	results.row("3 control planes and 2 workers → all Ready", seconds, "").took(time.Since(begin), 0)
}
