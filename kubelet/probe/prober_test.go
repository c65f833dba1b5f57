package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/pod"
)

// A world is a Prober whose probes are answered by a script, and the record of
// what it did. It lives in a synctest bubble.
type world struct {
	*Prober
	t     *testing.T
	began time.Time
	takes time.Duration // how long an attempt takes

	mu     sync.Mutex // guards what follows
	script script
	log    []string
}

// A script says how probes are answered.
type script func(probe string, at time.Duration) (answer, error)

func (w *world) answers(s script) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.script = s
}

var errNoRuntime = errors.New("no runtime")

func newWorld(t *testing.T, s script) *world {
	w := &world{t: t, began: time.Now(), script: s}
	w.Prober = New(Options{
		Poke:    func(key pod.Key) { w.note("poke: %s", w.say(key)) },
		Event:   func(_ *v1.Pod, _, typ, reason, msg string) { w.note("event: %s %s %s", typ, reason, msg) },
		HostIPs: func() []string { return []string{"10.0.0.1"} },
		Logger:  slog.New(slog.DiscardHandler),
	})
	w.handle = func(ctx context.Context, _ *container, p *v1.Probe) (answer, error) {
		name := handlerName(p)
		w.note("try %s", name)
		if w.takes > 0 {
			select {
			case <-time.After(w.takes):
			case <-ctx.Done():
				return failed(ctx.Err()), nil
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.script(name, time.Since(w.began))
	}
	t.Cleanup(w.Stop)
	return w
}

// handlerName returns what newProbe was given.
func handlerName(p *v1.Probe) string {
	if p.Exec != nil {
		return p.Exec.Command[0]
	}
	return p.HTTPGet.Path
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf("%s ", time.Since(w.began))+fmt.Sprintf(format, args...))
}

// say returns the verdicts of a pod in a few words.
func (w *world) say(key pod.Key) string {
	verdicts := w.Verdicts(key)
	var out []string
	for id, v := range verdicts {
		words := []string{id}
		if v.Started {
			words = append(words, "started")
		}
		if v.Ready {
			words = append(words, "ready")
		}
		if v.Unhealthy != nil {
			words = append(words, v.Unhealthy.Probe, "unhealthy")
		}
		out = append(out, strings.Join(words, " "))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// expect advances the clock and compares what was noted meanwhile.
func (w *world) expect(d time.Duration, want ...string) {
	w.t.Helper()
	time.Sleep(d)
	if diff := cmp.Diff(want, w.noted()); diff != "" {
		w.t.Errorf("after %s (-want +got):\n%s", d, diff)
	}
}

// noted returns what was noted since the last time, once all is quiet.
func (w *world) noted() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

func newProbe(name string) *v1.Probe {
	return &v1.Probe{
		ProbeHandler:  v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: name}},
		PeriodSeconds: 10, TimeoutSeconds: 1, SuccessThreshold: 1, FailureThreshold: 3,
	}
}

// later is a probe that is not tried in the moment others are.
func later(name string) *v1.Probe {
	p := newProbe(name)
	p.InitialDelaySeconds = 1
	return p
}

func execProbe(name string) *v1.Probe {
	p := newProbe("")
	p.ProbeHandler = v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{name}}}
	return p
}

// newPod returns a pod with one container "c" with the probes.
func newPod(startup, liveness, readiness *v1.Probe) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"},
		Spec: v1.PodSpec{Containers: []v1.Container{{
			Name: "c", StartupProbe: startup, LivenessProbe: liveness, ReadinessProbe: readiness,
		}}},
	}
}

var key = pod.Key{Namespace: "ns", Name: "p"}

func observed(state pod.State, id string, startedAt time.Time) pod.Observed {
	return pod.Observed{
		Sandboxes:  []pod.Sandbox{{ID: "s", UID: "u", IPs: []string{"10.1.0.2"}}},
		Containers: []pod.Container{{ID: id, Name: "c", PodUID: "u", SandboxID: "s", State: state, StartedAt: startedAt}},
	}
}

// running is the pod with one instance of c that has just started.
func running(id string) pod.Observed { return observed(pod.Running, id, time.Now()) }

func good(string, time.Duration) (answer, error) { return answer{ok: true}, nil }

func bad(string, time.Duration) (answer, error) { return answer{output: "no"}, nil }

// goodFrom answers well from then on.
func goodFrom(from time.Duration) script {
	return func(name string, at time.Duration) (answer, error) {
		if at >= from {
			return good(name, at)
		}
		return bad(name, at)
	}
}

func failedEvent(at, probe string) string {
	return at + " event: Warning Unhealthy " + probe + " probe failed: no"
}

func TestReadyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.Sync(newPod(nil, nil, newProbe("readiness")), running("a"), false)
		w.expect(0, "0s try readiness", "0s poke: a started ready")
		w.expect(20*time.Second, "10s try readiness", "20s try readiness")
	})
}

func TestNothingToProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.Sync(newPod(nil, nil, nil), running("a"), false)
		w.Sync(newPod(nil, nil, newProbe("readiness")), observed(pod.Created, "a", time.Time{}), false)
		w.expect(time.Minute)
		if got := w.say(key); got != "" {
			t.Errorf("verdicts %q", got)
		}
	})
}

func TestLivenessAloneIsReadyFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.Sync(newPod(nil, newProbe("liveness"), nil), running("a"), false)
		if got := w.say(key); got != "a started ready" {
			t.Errorf("verdicts %q", got)
		}
		w.expect(0, "0s try liveness")
	})
}

func TestInitialDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p := newProbe("readiness")
		p.InitialDelaySeconds = 7
		w.Sync(newPod(nil, nil, p), observed(pod.Running, "a", time.Now().Add(-2*time.Second)), false)
		w.expect(15*time.Second, "5s try readiness", "5s poke: a started ready", "15s try readiness")
	})
}

func TestThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p := newProbe("readiness")
		p.SuccessThreshold, p.FailureThreshold = 2, 3
		w.Sync(newPod(nil, nil, p), running("a"), false)
		w.expect(10*time.Second, "0s try readiness", "10s try readiness", "10s poke: a started ready")
		w.answers(bad)
		w.expect(20*time.Second, "20s try readiness", failedEvent("20s", "Readiness"), "30s try readiness", failedEvent("30s", "Readiness"))
		w.answers(good) // two failures are forgotten
		w.expect(10*time.Second, "40s try readiness")
		w.answers(bad)
		w.expect(30*time.Second,
			"50s try readiness", failedEvent("50s", "Readiness"),
			"1m0s try readiness", failedEvent("1m0s", "Readiness"),
			"1m10s try readiness", failedEvent("1m10s", "Readiness"), "1m10s poke: a started")
		w.answers(good)
		w.expect(20*time.Second, "1m20s try readiness", "1m30s try readiness", "1m30s poke: a started ready")
	})
}

// IC-28: before started only the startup probe runs, after it only the others,
// and the first of these at once.
func TestStartupFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, goodFrom(10*time.Second))
		w.Sync(newPod(execProbe("startup"), nil, newProbe("readiness")), running("a"), false)
		w.expect(10*time.Second, "0s try startup", failedEvent("0s", "Startup"),
			"10s try startup", "10s poke: a started", "10s try readiness", "10s poke: a started ready")
		w.expect(10*time.Second, "20s try readiness")
	})
}

// boot's difference: a container is found started between two periods.
func TestStartupEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, goodFrom(3*time.Second))
		w.Sync(newPod(newProbe("startup"), nil, nil), running("a"), false)
		w.expect(10*time.Second, "0s try startup", failedEvent("0s", "Startup"),
			"100ms try startup", "300ms try startup", "700ms try startup", "1.5s try startup", "2.5s try startup",
			"3.5s try startup", "3.5s poke: a started ready")
	})
}

// A container is found ready for the first time when it is. One that ceased to be
// is asked no more often than it wants.
func TestReadinessEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(name string, at time.Duration) (answer, error) {
			if at < time.Second || at == 20*time.Second {
				return bad(name, at)
			}
			return good(name, at)
		})
		p := newProbe("readiness")
		p.FailureThreshold = 1
		w.Sync(newPod(nil, nil, p), running("a"), false)
		w.expect(31*time.Second, "0s try readiness", failedEvent("0s", "Readiness"), "0s poke: a started",
			"100ms try readiness", "300ms try readiness", "700ms try readiness", "1.5s try readiness", "1.5s poke: a started ready",
			"10s try readiness", "20s try readiness", failedEvent("20s", "Readiness"), "20s poke: a started",
			"30s try readiness", "30s poke: a started ready")
	})
}

// However often it is tried, the container is killed when upstream kills it.
func TestStartupEarlyNeverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bad)
		grace := int64(4)
		p := newProbe("startup")
		p.PeriodSeconds, p.TerminationGracePeriodSeconds = 2, &grace
		w.Sync(newPod(p, newProbe("liveness"), newProbe("readiness")), running("a"), false)
		w.expect(time.Minute, "0s try startup", failedEvent("0s", "Startup"),
			"100ms try startup", "300ms try startup", "700ms try startup", "1.5s try startup",
			"2s try startup", failedEvent("2s", "Startup"), "3s try startup",
			"4s try startup", failedEvent("4s", "Startup"), "4s poke: a startup unhealthy")
		want := pod.Verdict{Unhealthy: &pod.Unhealthy{Probe: "startup", Message: "no", Grace: new(4 * time.Second)}}
		if diff := cmp.Diff(want, w.Verdicts(key)["a"]); diff != "" {
			t.Error(diff)
		}
	})
}

// An early attempt that hangs does not put off the one that counts.
func TestStartupEarlyEndsByThePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bad)
		w.takes = time.Hour
		p := newProbe("startup")
		p.TimeoutSeconds = 4
		w.Sync(newPod(p, nil, nil), running("a"), false)
		timeout := func(at string) string {
			return at + " event: Warning Unhealthy Startup probe failed: context deadline exceeded"
		}
		w.expect(14*time.Second, "0s try startup", timeout("4s"), "4.1s try startup", "8.3s try startup",
			"10s try startup", timeout("14s"))
	})
}

func TestSlowProbesLeaveOutPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.takes = 2500 * time.Millisecond
		p := newProbe("readiness")
		p.PeriodSeconds, p.TimeoutSeconds = 1, 5
		w.Sync(newPod(nil, nil, p), running("a"), false)
		w.expect(7*time.Second, "0s try readiness", "2.5s poke: a started ready", "3s try readiness", "6s try readiness")
	})
}

// IC-28: after it failed, liveness is on hold until there is a new container.
func TestLivenessFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bad)
		p := newPod(nil, newProbe("liveness"), nil)
		p.Spec.Containers[0].LivenessProbe.FailureThreshold = 2
		w.Sync(p, running("a"), false)
		w.expect(time.Minute, "0s try liveness", failedEvent("0s", "Liveness"),
			"10s try liveness", failedEvent("10s", "Liveness"), "10s poke: a started ready liveness unhealthy")

		have := running("b")
		have.Containers = append(have.Containers, observed(pod.Exited, "a", time.Time{}).Containers...)
		w.Sync(p, have, false)
		w.expect(0, "1m0s try liveness", failedEvent("1m0s", "Liveness"))
		// IC-16: what the first died of is known for as long as it is there.
		if got := w.say(key); got != "a started liveness unhealthy, b started ready" {
			t.Errorf("verdicts %q", got)
		}
		w.Sync(p, running("b"), false)
		if got := w.say(key); got != "b started ready" {
			t.Errorf("verdicts %q", got)
		}
	})
}

// A probe that cannot be made is made again at once, and then says nothing.
func TestUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(_ string, at time.Duration) (answer, error) {
			if at > 0 {
				return answer{}, errNoRuntime
			}
			return answer{ok: true}, nil
		})
		p := newProbe("readiness")
		p.FailureThreshold = 1
		w.Sync(newPod(nil, nil, p), running("a"), false)
		w.expect(10*time.Second, "0s try readiness", "0s poke: a started ready",
			"10s try readiness", "10s try readiness", "10s try readiness",
			"10s event: Warning Unhealthy Readiness probe errored and resulted in unknown state: no runtime")
	})
}

func TestWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(string, time.Duration) (answer, error) {
			return answer{ok: true, warning: true, output: "moved"}, nil
		})
		w.Sync(newPod(nil, nil, newProbe("readiness")), running("a"), false)
		w.expect(0, "0s try readiness", "0s event: Warning ProbeWarning Readiness probe warning: moved", "0s poke: a started ready")
	})
}

// IC-30: when the pod terminates, readiness goes on until containers stop.
func TestTermination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p, have := newPod(nil, later("liveness"), newProbe("readiness")), running("a")
		w.Sync(p, have, false)
		w.expect(time.Second, "0s try readiness", "0s poke: a started ready", "1s try liveness")
		w.Sync(p, have, true)
		w.expect(10*time.Second, "10s try readiness")
		w.Sync(nil, have, true) // nobody wants the pod any more
		w.answers(bad)
		w.expect(30*time.Second, "20s try readiness", failedEvent("20s", "Readiness"),
			"30s try readiness", failedEvent("30s", "Readiness"),
			"40s try readiness", failedEvent("40s", "Readiness"), "40s poke: a started")
		w.Sync(nil, observed(pod.Exited, "a", w.began), true)
		w.expect(time.Minute)
	})
}

// IC-30: a container that never started does not become so while it stops.
func TestTerminationBeforeStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, bad)
		p, have := newPod(execProbe("startup"), nil, newProbe("readiness")), running("a")
		w.Sync(p, have, false)
		w.expect(time.Second, "0s try startup", failedEvent("0s", "Startup"))
		w.answers(good)
		w.Sync(p, have, true)
		w.expect(time.Minute)
	})
}

// The old pod of a name is stopping while the new one waits for its place.
func TestReplacedPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		have := running("a")
		w.Sync(newPod(nil, newProbe("liveness"), nil), have, false)
		w.expect(0, "0s try liveness")
		next := newPod(nil, newProbe("liveness"), nil)
		next.UID = "u2"
		w.Sync(next, have, false)
		w.expect(time.Minute)
	})
}

// IC-31: a sidecar's next instance is probed whatever the pod's policy.
func TestSidecarUnderPolicyNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p := newPod(nil, nil, nil)
		p.Spec.RestartPolicy = v1.RestartPolicyNever
		p.Spec.InitContainers = []v1.Container{{Name: "side", RestartPolicy: new(v1.ContainerRestartPolicyAlways), ReadinessProbe: newProbe("readiness")}}
		have := running("a")
		have.Containers[0].Name = "side"
		w.Sync(p, have, false)
		w.expect(0, "0s try readiness", "0s poke: a started ready")
		have.Containers[0].State = pod.Exited
		w.Sync(p, have, false)
		if got := w.say(key); got != "a started" {
			t.Errorf("verdicts %q", got)
		}
		w.expect(time.Minute)
		have.Containers[0] = pod.Container{ID: "b", Name: "side", PodUID: "u", SandboxID: "s", State: pod.Running, StartedAt: time.Now()}
		w.Sync(p, have, false)
		w.expect(0, "1m0s try readiness", "1m0s poke: b started ready")
	})
}

func TestUnknownStateEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p, have := newPod(nil, nil, newProbe("readiness")), running("a")
		w.Sync(p, have, false)
		have.Containers[0].State = pod.Unknown
		w.Sync(p, have, false)
		w.expect(10*time.Second, "0s try readiness", "0s poke: a started ready", "10s try readiness")
	})
}

// IC-26: after a restart of boot what was started and ready stays so, and a
// Ready pod does not flap, whether the seed comes before the first look or after.
func TestSeed(t *testing.T) {
	for name, late := range map[string]bool{"before": false, "after": true} {
		t.Run("IC-26 "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bad)
				w.takes = 500 * time.Millisecond
				p := newPod(newProbe("startup"), nil, newProbe("readiness"))
				have := observed(pod.Running, "a", time.Now().Add(-seedAge))
				seed := func() { w.Seed("a", pod.Verdict{Started: true, Ready: true}) }
				if !late {
					seed()
				}
				w.Sync(p, have, false)
				if late {
					w.noted() // the first attempt is under way, and is given up
					seed()
				}
				if got := w.say(key); got != "a started ready" {
					t.Errorf("verdicts %q", got)
				}
				time.Sleep(15 * time.Second) // jitter is a period at most
				for _, line := range w.noted() {
					if strings.Contains(line, "startup") || strings.Contains(line, "poke") {
						t.Errorf("unexpected %q", line)
					}
				}
				time.Sleep(20 * time.Second)
				if got := w.say(key); got != "a started" {
					t.Errorf("verdicts %q: the seed never wears off", got)
				}
			})
		})
	}
}

func TestSeedIsNotTaken(t *testing.T) {
	all := pod.Verdict{Started: true, Ready: true}
	for name, tc := range map[string]struct {
		seed pod.Verdict
		age  time.Duration
		want string // "" for no verdict: nothing is known
	}{
		"IC-26 younger than 10 s":               {all, seedAge - time.Second, ""},
		"IC-27 not started before":              {pod.Verdict{}, time.Hour, "a"},
		"IC-27 not started, whatever readiness": {pod.Verdict{Ready: true}, time.Hour, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, bad)
				w.Seed("a", tc.seed)
				w.Sync(newPod(execProbe("startup"), nil, newProbe("readiness")), observed(pod.Running, "a", time.Now().Add(-tc.age)), false)
				if got := w.say(key); got != tc.want {
					t.Errorf("verdicts %q, want %q", got, tc.want)
				}
				w.expect(0, "0s try startup", failedEvent("0s", "Startup"))
			})
		})
	}
}

// A startup probe that succeeds before the seed is there says nothing of
// readiness, so what was known of that still counts, until it is known better.
func TestSeedComesAfterStartup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(probe string, _ time.Duration) (answer, error) {
			return answer{ok: probe == "startup"}, nil
		})
		w.takes = 500 * time.Millisecond
		p := newPod(newProbe("startup"), nil, newProbe("readiness"))
		w.Sync(p, observed(pod.Running, "a", time.Now().Add(-seedAge)), false)
		time.Sleep(700 * time.Millisecond) // readiness is being asked
		if v := w.Verdicts(key)["a"]; !v.Started || v.Ready || !v.Unasked {
			t.Errorf("verdict before the seed %+v", v)
		}
		w.Seed("a", pod.Verdict{Started: true, Ready: true})
		if v := w.Verdicts(key)["a"]; !v.Started || !v.Ready || v.Unasked {
			t.Errorf("IC-26: verdict after the seed %+v", v)
		}
		time.Sleep(time.Minute)
		if v := w.Verdicts(key)["a"]; !v.Started || v.Ready {
			t.Errorf("the seed never wears off: %+v", v)
		}
	})
}

func TestSeedComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.Sync(newPod(nil, nil, newProbe("readiness")), observed(pod.Running, "a", time.Now().Add(-time.Hour)), false)
		w.expect(0, "0s try readiness", "0s poke: a started ready")
		w.Seed("a", pod.Verdict{Started: true})
		if got := w.say(key); got != "a started ready" {
			t.Errorf("verdicts %q", got)
		}
	})
}

// The bubble of synctest fails a test that leaves goroutines behind.
func TestForgetAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		p := newPod(newProbe("startup"), later("liveness"), newProbe("readiness"))
		w.Sync(p, running("a"), false)
		w.expect(time.Second, "0s try startup", "0s poke: a started", "0s try readiness", "0s poke: a started ready", "1s try liveness")
		w.Forget(key)
		w.expect(time.Minute)
		if got := w.say(key); got != "" {
			t.Errorf("verdicts %q", got)
		}
		w.Sync(p, running("b"), false)
		w.Stop()
		w.noted()
		w.Sync(p, running("c"), false)
		w.expect(time.Minute)
	})
}

// An attempt that is under way when its container exits comes to nothing.
func TestAnswerAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		w.takes = 500 * time.Millisecond
		p := newPod(nil, nil, newProbe("readiness"))
		w.Sync(p, running("a"), false)
		w.expect(100*time.Millisecond, "0s try readiness")
		w.Sync(p, observed(pod.Exited, "a", w.began), false)
		w.expect(time.Minute)
		if got := w.say(key); got != "a started" {
			t.Errorf("verdicts %q", got)
		}
	})
}

func TestAddress(t *testing.T) {
	w := newWorld(t, good)
	c := pod.Container{SandboxID: "s"}
	for name, tc := range map[string]struct {
		sandbox pod.Sandbox
		want    string
	}{
		"pod network":  {pod.Sandbox{ID: "s", IPs: []string{"10.1.0.2", "fd00::2"}}, "10.1.0.2"},
		"host network": {pod.Sandbox{ID: "s", HostNetwork: true}, "10.0.0.1"},
		"none":         {pod.Sandbox{ID: "s"}, ""},
		"other":        {pod.Sandbox{ID: "o", IPs: []string{"10.1.0.2"}}, ""},
	} {
		if got := w.address(c, pod.Observed{Sandboxes: []pod.Sandbox{tc.sandbox}}); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
