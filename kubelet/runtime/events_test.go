package runtime_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// A stream that breaks is opened again, ever more slowly, and what was missed
// is made up for.
func TestEventsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _, w := newFake(t)
		p := onePod()
		do(t, w, p, pod.CreateSandbox{})
		pokes := make(chan pod.Key, 100)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Runtime.Events(ctx, func(n runtime.News) { pokes <- n.Key }) }()
		synctest.Wait()
		if len(pokes) > 0 {
			t.Error("poked before anything happened")
		}
		f.Fail("GetContainerEvents", 4, errors.New("not yet"))
		began := time.Now()
		f.BreakEvents()
		if k := <-pokes; k != pod.KeyOf(p) {
			t.Errorf("poke of %s", k)
		}
		if d := time.Since(began); d != 3100*time.Millisecond { // 0.1 + 0.2 + 0.4 + 0.8 + 1.6
			t.Errorf("back after %s", d)
		}
		synctest.Wait() // the runtime may be slower to open the stream than to be asked what it has
		do(t, w, p, pod.StopSandbox{ID: "sandbox-1"})
		<-pokes
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestNoEvents(t *testing.T) {
	f, _, w := newFake(t)
	f.Fail("GetContainerEvents", 1, status.Error(codes.Unimplemented, "not here"))
	if err := w.Runtime.Events(t.Context(), nil); !errors.Is(err, runtime.ErrNoEvents) {
		t.Error(err)
	}
}

// IC-33 The event stream wakes those who wait for a container to exit; without
// it they look ten times a second.
func TestExitsWake(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream bool
		late   time.Duration
	}{
		{"by event", true, 0},
		{"by looking", false, 50 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, _, w := newFake(t)
				p := onePod()
				p.Spec.Containers = append(p.Spec.Containers, *p.Spec.Containers[0].DeepCopy())
				p.Spec.Containers[1].Name = "b"
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.stream {
					go func() { _ = w.Runtime.Events(ctx, func(runtime.News) {}) }()
				}
				do(t, w, p, pod.CreateSandbox{},
					pod.StartContainer{Name: "a", Sandbox: pod.Sandbox{ID: "sandbox-1"}}, pod.StartContainer{Name: "b", Sandbox: pod.Sandbox{ID: "sandbox-1"}})
				began := time.Now()
				time.AfterFunc(1050*time.Millisecond, func() { f.Exit("a", 0) })
				do(t, w, p, pod.KillContainer{Name: "b", ID: "container-3", Grace: time.Minute, After: []string{"container-2"}})
				if got, want := time.Since(began), 1050*time.Millisecond+c.late; got != want {
					t.Errorf("stopped after %s, want %s", got, want)
				}
			})
		})
	}
}

func TestDialRefuses(t *testing.T) {
	for _, endpoint := range []string{"tcp://127.0.0.1:1", "containerd.sock", ""} {
		if _, err := runtime.Dial(endpoint, ""); err == nil {
			t.Errorf("dialled %q", endpoint)
		}
	}
	if _, err := runtime.Dial("/run/x.sock", "npipe:x"); err == nil {
		t.Error("dialled npipe for images")
	}
	conn, err := runtime.Dial("unix:///run/x.sock", "/run/y.sock")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}
