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
	time.Sleep(rest)
	found := n.Find(b, filepath.Base(lab.BootBinary(b)), "kubelet")
	before := make([]time.Duration, len(found))
	for i, p := range found {
		before[i] = cpu(b, n, p)
	}
	begin := time.Now()
	time.Sleep(window)
	for i, p := range found {
		used := (cpu(b, n, p) - before[i]).Seconds() / time.Since(begin).Seconds() * 1000
		results.process(p, with, used, memory(b, n, p))
	}
}

// process adds what a process of boot uses.
func (t *table) process(p lab.Process, with string, cpu float64, m map[string]float64) {
	who, anon, rss := "loop", "≤ 12 MiB (0.4 × 30)", "≤ 50 MiB (0.5 × 100)"
	if strings.Contains(strings.Join(p.Args, " "), "--supervise") {
		who, anon, rss = "supervisor", "", ""
	}
	add := func(what string, u unit, budget string, v float64) {
		r := t.row(fmt.Sprintf("%s with %s: %s", who, with, what), u, budget)
		r.boot = append(r.boot, v)
	}
	add("anonymous memory", mebibytes, anon, m["Anonymous"])
	add("resident memory", mebibytes, rss, m["Rss"])
	add("CPU", millicores, "", cpu)
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
