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
	"boot.internal/kubelet/runtime"
)

func worldCases() []Case {
	return []Case{
		{"events tell what became of the pod", events},
		{"all keys, and in what states they are", keys},
		{"commands in containers", commands},
		{"what the runtime says of itself", about},
	}
}

// events needs no look between the change and the news.
func events(t *testing.T, w *World) {
	b := newBench(t, w, polite("a"), running("knock", "exit", "0"))
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan runtime.News, 1000), make(chan error, 1)
	go func() { done <- w.Runtime.Events(ctx, func(n runtime.News) { heard <- n }) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	// Nothing tells when the stream is open but what comes out of it.
	sandbox := b.sandbox()
	for attempt := uint32(1); attempt == 1 || !hears(heard, b.pod, anything, 200*time.Millisecond); attempt++ {
		b.do(pod.StartContainer{Name: "knock", Sandbox: sandbox, Attempt: attempt})
	}
	b.exited("knock")
	c := b.startPolite("a")
	for hears(heard, b.pod, anything, 300*time.Millisecond) { // until all is quiet
	}
	became := func(id func() string, state pod.State) func(runtime.News) bool {
		return func(n runtime.News) bool { return n.ID == id() && n.State == state }
	}
	first, inSandbox := func() string { return c.ID }, func() string { return sandbox.ID }
	for _, change := range []struct {
		what string
		make func()
		is   func(runtime.News) bool
	}{
		{"killed", func() { b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Minute}) }, became(first, pod.Exited)},
		{"removed", func() { b.do(pod.RemoveContainer{Name: "a", ID: c.ID}) }, became(first, "")},
		{"started", func() { c = b.startPolite("a") }, became(first, pod.Running)},
		{"lost", func() { w.LoseSandbox(t, pod.KeyOf(b.pod)) }, became(inSandbox, pod.Exited)},
	} {
		change.make()
		if !hears(heard, b.pod, change.is, 10*time.Second) {
			t.Errorf("not heard: %s", change.what)
		}
		for hears(heard, b.pod, anything, 300*time.Millisecond) {
		}
	}
}

func anything(runtime.News) bool { return true }

// hears reports whether there is such news of p within d.
func hears(heard <-chan runtime.News, p *v1.Pod, is func(runtime.News) bool, d time.Duration) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	for {
		select {
		case n := <-heard:
			if n.Key == pod.KeyOf(p) && is(n) {
				return true
			}
		case <-deadline.C:
			return false
		}
	}
}

func keys(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "exit", "0"))
	current := func(what string) {
		t.Helper()
		all, err := w.Runtime.Keys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sum, ok := all[pod.KeyOf(b.pod)]
		if !ok {
			t.Fatalf("%s: not among %v", what, all)
		}
		have := b.look()
		ignore := cmpopts.IgnoreFields(pod.Sandbox{}, "IPs")
		if diff := cmp.Diff(have.Sandboxes, sum.Sandboxes, ignore); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if diff := cmp.Diff(have.States(), sum.States); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	current("sandbox made")
	b.start("a")
	c := b.exited("a")
	current("container exited")
	b.do(pod.RemoveContainer{Name: "a", ID: c.ID})
	b.do(pod.StopSandbox{ID: b.sandbox().ID})
	current("sandbox stopped")
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
