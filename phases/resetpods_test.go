package phases

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/process"
)

// fakePods are on an engine that takes its time.
type fakePods struct {
	err  error
	took time.Duration
	bad  string // the name of a pod that cannot be removed

	mu  sync.Mutex
	all []Pod
}

func (f *fakePods) List(context.Context) ([]Pod, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all), f.err
}

func (f *fakePods) Remove(ctx context.Context, p Pod) error {
	select {
	case <-time.After(f.took):
	case <-ctx.Done():
		return ctx.Err()
	}
	if p.Name == f.bad {
		return errors.New("shim is stuck")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = slices.DeleteFunc(f.all, func(other Pod) bool { return other == p })
	return nil
}

func noStrays() ([]process.ID, error) { return nil, nil }

func TestStopOrder(t *testing.T) {
	var all []Pod
	for _, name := range []string{"etcd-n", "kube-apiserver-n", "kube-scheduler-n", "kube-controller-manager-n", "kube-proxy-n"} {
		all = append(all, Pod{"kube-system", name, true})
	}
	all = append(all, Pod{"kube-system", "etcd-backup", false}, Pod{"default", "etcd-n", true}, Pod{"kube-system", "coredns-1", false})
	var got []string
	for _, group := range stopOrder(all) {
		var names []string
		for _, p := range group {
			names = append(names, p.String())
		}
		got = append(got, strings.Join(names, " "))
	}
	want := []string{
		"default/etcd-n kube-system/coredns-1 kube-system/etcd-backup",
		"kube-system/kube-proxy-n",
		"kube-system/kube-controller-manager-n kube-system/kube-scheduler-n",
		"kube-system/kube-apiserver-n",
		"kube-system/etcd-n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPodsThatDoNotNeedEachOtherStopAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := &fakePods{took: 10 * time.Second, all: []Pod{
			{"a", "1", false}, {"a", "2", false}, {"a", "3", false}, {"kube-system", "etcd-n", true},
		}}
		begin := time.Now()
		p := newStopPods(pods, nil, noStrays)
		if err := (Runner{}).Run(t.Context(), []Step{{Name: "pods", Phase: p}}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 20*time.Second || len(pods.all) > 0 {
			t.Errorf("took %s, left %v", took, pods.all)
		}
	})
}

// stopping runs the phase and returns what it warned of.
func stopping(t *testing.T, p *stopPods) (warned string, err error) {
	t.Helper()
	text, err := trace(t.Context(), Runner{}, Step{Name: "pods", Phase: p})
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "pods warned "); ok {
			warned += rest
		}
	}
	return warned, err
}

func TestPodsThatDoNotStop(t *testing.T) {
	stuck := func() *fakePods {
		return &fakePods{bad: "2", all: []Pod{{"a", "1", false}, {"a", "2", false}, {"kube-system", "etcd-n", true}}}
	}
	t.Run("end with boot's own engine", func(t *testing.T) {
		pods := stuck()
		warned, err := stopping(t, newStopPods(pods, &fakeEngine{running: true}, noStrays))
		if err != nil || warned != "a/2 does not stop, and so it is killed: shim is stuck\n" || len(pods.all) != 1 {
			t.Errorf("%v, warned %q, left %v", err, warned, pods.all)
		}
	})
	t.Run("on the engine of others are an error", func(t *testing.T) {
		_, err := stopping(t, newStopPods(stuck(), nil, noStrays))
		wantError(t, err, "shim is stuck", "")
	})
	t.Run("keep nobody who wants to leave", func(t *testing.T) {
		pods := stuck()
		pods.took = time.Hour
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("interrupted")
		cancel(reason)
		if err := newStopPods(pods, &fakeEngine{running: true}, noStrays).stop(ctx, pods.all); !errors.Is(err, reason) {
			t.Error(err)
		}
	})
}

func TestEnginesThatDoNotAnswer(t *testing.T) {
	refused := &fakePods{err: errors.New("connection refused")}
	one := func() ([]process.ID, error) { return []process.ID{{PID: 1}}, nil }
	t.Run("own, dead", func(t *testing.T) {
		if warned, err := stopping(t, newStopPods(refused, &fakeEngine{}, one)); err != nil || warned != "" {
			t.Errorf("%v, warned %q", err, warned)
		}
	})
	t.Run("own, stuck", func(t *testing.T) {
		warned, err := stopping(t, newStopPods(refused, &fakeEngine{running: true}, one))
		if err != nil || !strings.Contains(warned, "they are killed: connection refused") {
			t.Errorf("%v, warned %q", err, warned)
		}
	})
	t.Run("of others, with pods", func(t *testing.T) {
		_, err := stopping(t, newStopPods(refused, nil, one))
		wantError(t, err, "list the pods: connection refused", "start it, and run 'boot reset' again")
	})
	t.Run("of others, without", func(t *testing.T) {
		warned, err := stopping(t, newStopPods(refused, nil, noStrays))
		if err != nil || !strings.Contains(warned, "connection refused") {
			t.Errorf("%v, warned %q", err, warned)
		}
	})
}

// sleeper is a process as a dead engine leaves them.
func sleeper(t *testing.T) process.ID {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reaped := make(chan struct{})
	go func() { _ = cmd.Wait(); close(reaped) }()
	t.Cleanup(func() { <-reaped })
	id, err := process.Of(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhatADeadEngineLeavesIsKilled(t *testing.T) {
	left := []process.ID{sleeper(t), sleeper(t)}
	strays := func() ([]process.ID, error) {
		return slices.DeleteFunc(slices.Clone(left), func(id process.ID) bool { return !id.Alive() }), nil
	}
	said, err := trace(t.Context(), Runner{}, Step{Name: "engine", Phase: stopEngine{&fakeEngine{}, strays}})
	if err != nil || !strings.Contains(said, "kill what still runs of the pods: 2 processes") {
		t.Errorf("%v: %s", err, said)
	}
	for _, id := range left {
		if id.Alive() {
			t.Errorf("%v lives", id)
		}
	}
}

func TestShimsAreStoppedWithTheEngine(t *testing.T) {
	engine := &fakeEngine{shims: []process.ID{{PID: 1}}}
	said, err := trace(t.Context(), Runner{}, Step{Name: "engine", Phase: stopEngine{engine, noStrays}})
	if err != nil || !strings.Contains(said, "stop the container engine") || engine.shims != nil {
		t.Errorf("%v: %s", err, said)
	}
}

func TestTheEngineOfOthersIsLeftAlone(t *testing.T) {
	strays := func() ([]process.ID, error) { t.Error("looked for processes"); return nil, nil }
	if changes, err := (stopEngine{nil, strays}).Plan(t.Context()); len(changes) > 0 || err != nil {
		t.Errorf("%v, %v", changes, err)
	}
}
