package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// How long the loop is watched doing nothing, after it has come to rest.
const (
	rest   = 15 * time.Second
	window = 30 * time.Second
)

// benchLoop measures the process of the loop, and its supervisor, at rest.
func benchLoop(b *testing.B, n *lab.Node, results *table, with string) {
	b.Helper()
	for _, f := range atRest(b, n, filepath.Base(lab.BootBinary(b)), "kubelet") {
		results.process(f, with)
	}
}

// Figures are what a process uses at rest.
type figures struct {
	process lab.Process
	cpu     float64 // thousandths of a core
	memory  map[string]float64
}

// atRest measures the processes of a program that have these words among their
// arguments.
func atRest(b *testing.B, n *lab.Node, program string, words ...string) []figures {
	b.Helper()
	time.Sleep(rest)
	var all []figures
	var before []time.Duration
	for _, p := range n.Find(b, program, words...) {
		all, before = append(all, figures{process: p}), append(before, cpu(b, n, p))
	}
	begin := time.Now()
	time.Sleep(window)
	for i := range all {
		f := &all[i]
		f.cpu = (cpu(b, n, f.process) - before[i]).Seconds() / time.Since(begin).Seconds() * 1000
		f.memory = memory(b, n, f.process)
	}
	return all
}

// process adds what a process uses: of boot, or of upstream's kubelet, beside
// which the loop is put.
func (t *table) process(f figures, with string) {
	line := strings.Join(f.process.Args, " ")
	supervisor, upstream := strings.Contains(line, "--supervise"), strings.HasPrefix(line, "/") && strings.Contains(line, "/kubelet ")
	add := func(what string, u unit, budget string, v float64) {
		if supervisor {
			r := t.row(fmt.Sprintf("supervisor with %s: %s", with, what), u, "")
			r.boot = append(r.boot, v)
			return
		}
		r := t.row(fmt.Sprintf("loop with %s: %s; bare: kubelet", with, what), u, budget)
		if upstream {
			r.bare = append(r.bare, v)
		} else {
			r.boot = append(r.boot, v)
		}
	}
	add("anonymous memory", mebibytes, "≤ 0.4", f.memory["Anonymous"])
	add("resident memory", mebibytes, "≤ 0.5", f.memory["Rss"])
	add("CPU", millicores, "≤ 1/3", f.cpu)
}

// cpu returns what the threads of a process have used so far. Clock ticks, of
// which most other figures are made, are too coarse.
func cpu(b *testing.B, n *lab.Node, p lab.Process) time.Duration {
	b.Helper()
	total := 0
	for line := range strings.Lines(n.Run(b, "sh", "-c", fmt.Sprintf("cat /proc/%d/task/*/schedstat", p.PID))) {
		ns, err := strconv.Atoi(strings.Fields(line)[0])
		if err != nil {
			b.Fatal(err)
		}
		total += ns
	}
	return time.Duration(total)
}

// memory returns the sums over all mappings of a process, in MiB.
func memory(b *testing.B, n *lab.Node, p lab.Process) map[string]float64 {
	b.Helper()
	sums := map[string]float64{}
	for line := range strings.Lines(n.ReadFile(b, fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))) {
		name, rest, _ := strings.Cut(line, ":")
		if kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB"))); err == nil {
			sums[name] = float64(kib) / 1024
		}
	}
	return sums
}
