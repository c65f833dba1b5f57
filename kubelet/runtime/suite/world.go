package suite

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

func worldCases() []Case {
	return []Case{
		{"events poke the pod", events},
		{"all keys, and what changes their fingerprint", keys},
		{"commands in containers", commands},
		{"what the runtime says of itself", about},
	}
}

// events needs no look between the change and the poke.
func events(t *testing.T, w *World) {
	b := newBench(t, w, polite("a"), running("knock", "exit", "0"))
	ctx, cancel := context.WithCancel(t.Context())
	pokes, done := make(chan pod.Key, 1000), make(chan error, 1)
	go func() { done <- w.Runtime.Events(ctx, func(k pod.Key) { pokes <- k }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	// Nothing tells when the stream is open but what comes out of it.
	sandbox := b.sandbox().ID
	for attempt := uint32(1); attempt == 1 || !poked(pokes, b.pod, 200*time.Millisecond); attempt++ {
		b.do(pod.StartContainer{Name: "knock", SandboxID: sandbox, Attempt: attempt})
	}
	b.exited("knock")
	c := b.startPolite("a")
	for poked(pokes, b.pod, 300*time.Millisecond) { // until all is quiet
	}
	for _, change := range []struct {
		what string
		make func()
	}{
		{"killed", func() { b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Minute}) }},
		{"started", func() { b.do(pod.StartContainer{Name: "a", SandboxID: sandbox, Attempt: 1}) }},
		{"lost", func() { w.LoseSandbox(t, pod.KeyOf(b.pod)) }},
	} {
		change.make()
		if !poked(pokes, b.pod, 10*time.Second) {
			t.Errorf("not poked: %s", change.what)
		}
		for poked(pokes, b.pod, 300*time.Millisecond) {
		}
	}
}

// poked reports whether p is poked within d.
func poked(pokes <-chan pod.Key, p *v1.Pod, d time.Duration) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for {
		select {
		case k := <-pokes:
			if k == pod.KeyOf(p) {
				return true
			}
		case <-deadline.C:
			return false
		}
	}
}

func keys(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "exit", "0"))
	current := func() uint64 {
		t.Helper()
		all, err := w.Runtime.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum, ok := all[pod.KeyOf(b.pod)]
		if !ok {
			t.Fatalf("not among %v", all)
		}
		ignore := cmpopts.IgnoreFields(pod.Sandbox{}, "IPs")
		if diff := cmp.Diff(b.look().Sandboxes, sum.Sandboxes, ignore); diff != "" {
			t.Error(diff)
		}
		return sum.Fingerprint
	}
	seen := map[uint64]bool{}
	differs := func(why string) {
		t.Helper()
		before := len(seen)
		first, again := current(), current()
		if seen[first] = true; len(seen) == before {
			t.Errorf("fingerprint does not tell: %s", why)
		}
		if first != again {
			t.Error("fingerprint changes by itself")
		}
	}
	differs("sandbox made")
	b.start("a")
	c := b.exited("a")
	differs("container exited")
	b.do(pod.RemoveContainer{Name: "a", ID: c.ID})
	b.do(pod.StopSandbox{ID: b.sandbox().ID})
	differs("sandbox stopped")
}

func commands(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "sleep", "infinity"))
	c := b.start("a")
	out, code, err := w.Runtime.Exec(t.Context(), c.ID, []string{"/testbox", "exec-ok"}, time.Minute)
	if err != nil || code != 0 || string(out) != "ok\n" {
		t.Errorf("%q, %d, %v", out, code, err)
	}
	_, code, err = w.Runtime.Exec(t.Context(), c.ID, []string{"/testbox", "exit", "7"}, time.Minute)
	if err != nil || code != 7 {
		t.Errorf("%d, %v", code, err)
	}
	_, _, err = w.Runtime.Exec(t.Context(), c.ID, []string{"/testbox", "sleep", "1h"}, time.Second)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("too long: %v", err)
	}
	if _, _, err = w.Runtime.Exec(t.Context(), "never-was", []string{"x"}, time.Second); err == nil {
		t.Error("a command ran in no container")
	}
}

func about(t *testing.T, w *World) {
	version, err := w.Runtime.Version(t.Context())
	if err != nil || !strings.Contains(version, "://") {
		t.Errorf("version %q, %v", version, err)
	}
	driver, err := w.Runtime.CgroupDriver(t.Context())
	if err != nil || driver != "cgroupfs" {
		t.Errorf("cgroup driver %q, %v", driver, err)
	}
	s, err := w.Runtime.Status(t.Context())
	if err != nil || !s.Ready || !s.NetworkReady || s.Message != "" || len(s.Handlers) == 0 || s.Features == nil {
		t.Errorf("%+v, %v", s, err)
	}
}
