package e2e

import (
	"os"
	"testing"
)

// How often each thing is measured. Others may be busy on the machine, so the
// best of several tries says most, and the median tells how steady it is.
const (
	initRounds = 3
	podRounds  = 8
	manyPods   = 60
)

// BenchmarkBoot measures boot beside what it stands on: the same calls without
// boot, in the same run, on the same machine, engine and images. Run it with
// -benchtime 1x. It prints one table of all that was measured.
func BenchmarkBoot(b *testing.B) {
	results := new(table)
	for range initRounds {
		b.Run("init", func(b *testing.B) { benchInit(b, results) })
	}
	b.Run("upstream", func(b *testing.B) { benchUpstream(b, results) })
	b.Run("running", func(b *testing.B) {
		y := newYard(b)
		benchLoop(b, y.n, results, "control plane")
		y.benchPods(b, results)
		y.benchMany(b, results)
	})
	b.Run("join", func(b *testing.B) { benchJoin(b, results) })
	results.size(b)
	results.print(os.Stdout)
}
