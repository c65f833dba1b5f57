package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// atWork returns which of the turns have begun.
func atWork(all map[string]*turn) string {
	var names []string
	for _, name := range []string{"etcd", "pause", "api", "kcm", "proxy"} {
		if w, ok := all[name]; ok && began(w) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func began(w *turn) bool {
	select {
	case <-w.now:
		return true
	default:
		return false
	}
}

func TestTurns(t *testing.T) {
	q := newTurns(2)
	all := map[string]*turn{}
	for _, name := range []string{"proxy", "etcd", "pause", "api", "kcm"} {
		if name == "proxy" {
			continue
		}
		rank := urgency(strings.NewReplacer("api", "kube-apiserver", "kcm", "kube-controller-manager").Replace(name))
		all[name] = q.line(rank)
	}
	all["proxy"] = q.line(urgency("kube-proxy"))
	for _, step := range []struct{ end, want string }{
		{"", "etcd pause"},
		{"pause", "etcd api"},
		{"etcd", "api"}, // what nobody waits for yet does not take its other half
		{"api", "kcm"},  // and does it alone
		{"kcm", "proxy"},
		{"proxy", ""},
	} {
		if step.end != "" {
			q.end(all[step.end])
			delete(all, step.end)
		}
		if got := atWork(all); got != step.want {
			t.Fatalf("after %q ended, at work: %q, want %q", step.end, got, step.want)
		}
	}
	if q.free != 2 {
		t.Errorf("%d slots are free", q.free)
	}
}

// One that comes later goes before those that matter less.
func TestTurnsOvertake(t *testing.T) {
	q := newTurns(1)
	first, second, urgent := q.line(9), q.line(9), q.line(0)
	if !began(first) || began(urgent) {
		t.Fatal("there is one slot")
	}
	q.end(first)
	if !began(urgent) || began(second) {
		t.Error("the urgent one is next")
	}
}

func TestTurnGivenUp(t *testing.T) {
	q := newTurns(1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a, b, c := q.line(0), q.line(0), q.line(0)
	if err := q.wait(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if err := q.wait(ctx, b); err == nil {
		t.Fatal("it was nobody's turn")
	}
	q.end(a)
	if !began(c) {
		t.Error(fmt.Sprint("who gave up is waited for: ", q.waiting))
	}
}
