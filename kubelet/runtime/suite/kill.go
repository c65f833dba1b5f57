package suite

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

func killCases() []Case {
	return []Case{
		{"a container that stops when asked to", killedSoftly},
		{"SP-44 a container that does not stop when asked to", killedHard},
		{"SP-44 a kill is overtaken by a shorter one", killOvertaken},
		{"IC-33 a container stops after another", killedAfter},
		{"IC-34 waiting for another uses up the grace", killedTogether},
		{"IC-35 containers that do not run hold nobody up", nobodyWaits},
		{"killing what does not run", killedTwice},
	}
}

// took runs f and returns how long that took.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func killedSoftly(t *testing.T, w *World) {
	b := newBench(t, w, polite("a"))
	c := b.startPolite("a")
	if d := took(func() { b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Minute}) }); d > 10*time.Second {
		t.Errorf("took %s", d)
	}
	if c = b.container("a"); c.State != pod.Exited || c.ExitCode != 0 {
		t.Errorf("%s with %d", c.State, c.ExitCode)
	}
}

func killedHard(t *testing.T, w *World) {
	b := newBench(t, w, stubborn("a"))
	c := b.start("a")
	// No grace at all still is 2 s.
	d := took(func() { b.do(pod.KillContainer{Name: "a", ID: c.ID}) })
	if d < 1900*time.Millisecond || d > 10*time.Second {
		t.Errorf("took %s", d)
	}
	if c = b.container("a"); c.State != pod.Exited || c.ExitCode != 137 {
		t.Errorf("%s with %d", c.State, c.ExitCode)
	}
}

func killOvertaken(t *testing.T, w *World) {
	b := newBench(t, w, stubborn("a"))
	c := b.start("a")
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { first <- w.Runtime.Do(ctx, b.pod, pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Hour}) }()
	b.await("the first kill began", func() bool { return len(w.Events.Of(b.pod)) == 3 })
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("overtaken kill: %v", err)
	}
	if d := took(func() { b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Second}) }); d > 10*time.Second {
		t.Errorf("took %s", d)
	}
	if c = b.container("a"); c.State != pod.Exited {
		t.Errorf("%s", c.State)
	}
}

func killedAfter(t *testing.T, w *World) {
	main := polite("main")
	main.Lifecycle = &v1.Lifecycle{PreStop: sleeping(1)}
	b := newBench(t, w, main, polite("side"))
	first, second := b.startPolite("main"), b.startPolite("side")
	done := make(chan error, 1)
	go func() {
		done <- w.Runtime.Do(t.Context(), b.pod, pod.KillContainer{
			Name: "side", ID: second.ID, Grace: time.Minute, After: []string{first.ID},
		})
	}()
	b.do(pod.KillContainer{Name: "main", ID: first.ID, Grace: time.Minute, Hook: true})
	if err := <-done; err != nil {
		t.Error(err)
	}
	first, second = b.container("main"), b.container("side")
	if first.State != pod.Exited || second.State != pod.Exited || second.FinishedAt.Before(first.FinishedAt) {
		t.Errorf("main finished at %s, side at %s", first.FinishedAt, second.FinishedAt)
	}
}

func killedTogether(t *testing.T, w *World) {
	b := newBench(t, w, stubborn("main"), polite("side"))
	first, second := b.start("main"), b.startPolite("side")
	d := took(func() {
		b.do(pod.KillContainer{Name: "side", ID: second.ID, Grace: time.Second, After: []string{first.ID}})
	})
	if d < 900*time.Millisecond || d > 10*time.Second {
		t.Errorf("took %s", d)
	}
	if c := b.container("side"); c.State != pod.Exited || c.ExitCode != 0 {
		t.Errorf("side %s with %d", c.State, c.ExitCode)
	}
}

func nobodyWaits(t *testing.T, w *World) {
	b := newBench(t, w, running("gone", "exit", "0"), polite("side"))
	gone := b.start("gone")
	b.exited("gone")
	side := b.startPolite("side")
	kill := pod.KillContainer{Name: "side", ID: side.ID, Grace: time.Minute, After: []string{gone.ID, "never-was"}}
	if d := took(func() { b.do(kill) }); d > 10*time.Second {
		t.Errorf("took %s", d)
	}
}

func killedTwice(t *testing.T, w *World) {
	b := newBench(t, w, running("a", "exit", "5"))
	c := b.start("a")
	b.exited("a")
	b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Minute}, pod.KillContainer{Name: "a", ID: "never-was"})
	if c = b.container("a"); c.ExitCode != 5 {
		t.Errorf("exit code %d", c.ExitCode)
	}
}
