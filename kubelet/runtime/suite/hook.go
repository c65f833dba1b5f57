package suite

import (
	"errors"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

func hookCases() []Case {
	return []Case{
		{"IC-4 a postStart hook that succeeds", postStart},
		{"a postStart hook that fails ends the container", postStartFails},
		{"a preStop hook runs before the signal", preStop},
		{"a preStop hook nobody asked for does not run", preStopNotAsked},
		{"a preStop hook takes no more than the grace", preStopTooLong},
		{"a preStop hook that fails keeps nothing from stopping", preStopFails},
		{"a container of a pod no longer known has its hook", preStopOfOrphan},
	}
}

func exec(command ...string) *v1.LifecycleHandler {
	return &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: command}}
}

func sleeping(seconds int64) *v1.LifecycleHandler {
	return &v1.LifecycleHandler{Sleep: &v1.SleepAction{Seconds: seconds}}
}

func hooked(l v1.Lifecycle) v1.Container {
	c := polite("a")
	c.Lifecycle = &l
	return c
}

func postStart(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PostStart: exec("/testbox", "sleep", "1s")}))
	if d := took(func() { b.start("a") }); d < time.Second {
		t.Errorf("the hook takes 1s, but the start took %s", d)
	}
	if c := b.container("a"); c.State != pod.Running {
		t.Error(c.State)
	}
}

func postStartFails(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PostStart: exec("/testbox", "exit", "3")}))
	err := w.Runtime.Do(t.Context(), b.pod, pod.StartContainer{Name: "a", Sandbox: b.sandbox()})
	var failed *pod.ActionError
	if !errors.As(err, &failed) || failed.Reason != "PostStartHookError" {
		t.Errorf("error %v", err)
	}
	if c := b.container("a"); c.State != pod.Exited {
		t.Error(c.State)
	}
	if got := w.Events.Of(b.pod); !slices.Contains(got, "FailedPostStartHook") {
		t.Errorf("events %q", got)
	}
}

func preStop(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PreStop: sleeping(1)}))
	kill := pod.KillContainer{Name: "a", ID: b.startPolite("a").ID, Grace: time.Minute, Hook: true}
	if d := took(func() { b.do(kill) }); d < time.Second || d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

func preStopNotAsked(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PreStop: sleeping(3600)}))
	kill := pod.KillContainer{Name: "a", ID: b.startPolite("a").ID, Grace: time.Minute}
	if d := took(func() { b.do(kill) }); d > 20*time.Second {
		t.Errorf("took %s", d)
	}
}

func preStopTooLong(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PreStop: sleeping(3600)}))
	c := b.startPolite("a")
	kill := pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Second, Hook: true}
	if d := took(func() { b.do(kill) }); d < time.Second || d > 20*time.Second {
		t.Errorf("took %s", d)
	}
	if c = b.container("a"); c.State != pod.Exited || c.ExitCode != 0 {
		t.Errorf("%s with %d", c.State, c.ExitCode)
	}
}

func preStopFails(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PreStop: exec("/testbox", "exit", "3")}))
	c := b.startPolite("a")
	b.do(pod.KillContainer{Name: "a", ID: c.ID, Grace: time.Minute, Hook: true})
	if got := w.Events.Of(b.pod); !slices.Contains(got, "FailedPreStopHook") {
		t.Errorf("events %q", got)
	}
	if c = b.container("a"); c.State != pod.Exited {
		t.Error(c.State)
	}
}

func preStopOfOrphan(t *testing.T, w *World) {
	b := newBench(t, w, hooked(v1.Lifecycle{PreStop: sleeping(1)}))
	kill := pod.KillContainer{Name: "a", ID: b.startPolite("a").ID, Grace: time.Minute, Hook: true}
	d := took(func() {
		if err := w.Runtime.Do(t.Context(), nil, kill); err != nil {
			t.Error(err)
		}
	})
	if d < time.Second {
		t.Errorf("the hook takes 1s, but the kill took %s", d)
	}
}
