package main

import (
	"context"
	"strings"
	"testing"

	"boot.internal/kubelet/local"
	"boot.internal/status"
	"boot.internal/ttytest"
)

// On a terminal one report is drawn over the other. What was there before stays
// above, and what was seen last is left when it ends.
func TestWatchRedraws(t *testing.T) {
	tty, u := onTerminal(t)
	u.printf("$ boot status --watch\n")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	reports, news, ended := make(chan status.Report, 1), make(chan struct{}, 1), make(chan error, 1)
	look := func(ctx context.Context) (r status.Report) {
		select {
		case r = <-reports:
		case <-ctx.Done():
		}
		return r
	}
	go func() { ended <- newWatch(u, "").run(ctx, news, look) }()
	next := func(name, before, sees string) {
		t.Helper()
		r := status.Report{Verdict: status.Degraded, Node: status.Node{Name: name, Registered: true}}
		r.Loop.Running = true
		for range 40 { // more than the terminal has room for
			r.StaticPods = append(r.StaticPods, local.Pod{Name: "etcd-" + name, State: local.Running})
		}
		reports <- r
		tty.Await(sees, func(screen string) bool {
			return strings.HasPrefix(screen, "$ boot status --watch\n"+name+"  ") && strings.Contains(screen, " more lines\n") && !strings.Contains(screen, "etcd-"+before)
		})
	}
	next("one", "none", "the first report")
	news <- struct{}{}
	next("two", "one", "another in its place, and nothing of the first")
	interrupt()
	if err := <-ended; err != nil { // which is exit code 0
		t.Error(err)
	}
	tty.Await("what was seen last", ttytest.Sees("two  "))
}
