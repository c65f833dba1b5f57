package phases

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/backoff"
	"boot.internal/config"
)

// A fakeService is a loop that is started or not.
type fakeService struct {
	running bool
	err     error
	starts  int
}

func (s *fakeService) Running(context.Context) (bool, error) { return s.running, s.err }

func (s *fakeService) Stop(context.Context) error {
	s.running = false
	return nil
}

func (s *fakeService) Start(context.Context) error {
	s.starts++
	s.running = true
	return nil
}

// lookFunc lets a function be Components.
type lookFunc func() ([]Component, error)

func (f lookFunc) Look(context.Context) ([]Component, error) { return f() }

// deaf is an engine that never answers.
type deaf struct{}

func (deaf) Look(ctx context.Context) ([]Component, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

var nothing = lookFunc(func() ([]Component, error) { return nil, nil })

// healthyAfter is a component that becomes healthy after a while.
func healthyAfter(pod string, d time.Duration) probe {
	begin := time.Now()
	return probe{pod, func(context.Context) error {
		if time.Since(begin) < d {
			return errors.New("connection refused")
		}
		return nil
	}}
}

func never(pod string) probe { return healthyAfter(pod, 1000*time.Hour) }

// await runs the phase and returns what it reported besides the error.
func await(t *testing.T, p *waitControlPlane) (string, error) {
	t.Helper()
	var b strings.Builder
	begin := time.Now()
	r := Runner{Report: func(e Event) {
		if e.Text != "" {
			fmt.Fprintf(&b, "%s %s %s\n", time.Since(begin).Round(time.Second), e.State, e.Text)
		}
	}}
	err := r.Run(t.Context(), []Step{{Name: "wait", Phase: p}})
	return b.String(), err
}

func TestWaitSaysWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := await(t, &waitControlPlane{
			probes:     []probe{healthyAfter("etcd", 2*time.Second), healthyAfter("kube-apiserver", 5*time.Second), healthyAfter("kube-scheduler", 3*time.Second)},
			components: nothing, service: &fakeService{running: true}, timeout: time.Minute,
		})
		want := `0s changing wait for etcd, kube-apiserver, kube-scheduler
0s waiting etcd, kube-apiserver, kube-scheduler
1s because etcd has no container yet
2s waiting kube-apiserver, kube-scheduler
2s because kube-apiserver has no container yet
3s waiting kube-apiserver
`
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v: %s", err, diff)
		}
	})
}

// What is told of the wait is what keeps the first that is not healthy.
func TestWaitSaysWhy(t *testing.T) {
	refused := errors.New("connection refused")
	etcd := Component{Pod: "etcd", Container: "etcd", State: ContainerRunning}
	crashed := Component{Pod: "etcd", Container: "etcd", State: ContainerExited, ExitCode: 1, Reason: "Error"}
	for name, c := range map[string]struct {
		saw   *sight
		heard error
		want  string
	}{
		"nothing is known":           {nil, refused, ""},
		"there is no container":      {&sight{}, refused, "etcd has no container yet"},
		"the container has ended":    {&sight{containers: []Component{crashed}}, refused, "etcd: container etcd exited with code 1 (Error)"},
		"it was not asked":           {&sight{containers: []Component{etcd}}, errNotAsked, ""},
		"it answers that it is not":  {&sight{containers: []Component{etcd}}, refused, "etcd: connection refused"},
		"the engine does not answer": {&sight{err: refused}, refused, "the containers cannot be looked at: connection refused"},
		"all are well":               {&sight{containers: []Component{etcd}}, nil, ""},
	} {
		w := newWatcher([]probe{{pod: "etcd"}}, time.Time{})
		if c.saw != nil {
			w.saw(*c.saw)
		}
		w.heard(verdict{0, c.heard})
		if got := w.cause(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAnEngineThatDoesNotAnswerKeepsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := await(t, &waitControlPlane{
			probes: []probe{healthyAfter("etcd", 3*time.Second)}, components: deaf{}, service: &fakeService{running: true}, timeout: time.Minute,
		})
		if d := time.Since(begin); err != nil || d > 4*time.Second {
			t.Errorf("after %s: %v", d, err)
		}
		_, err = await(t, &waitControlPlane{probes: []probe{never("etcd")}, components: deaf{}, service: &fakeService{running: true}, timeout: time.Minute})
		if err == nil || !strings.Contains(err.Error(), "the containers cannot be looked at: context deadline exceeded") {
			t.Error(err)
		}
	})
}

func TestHealthyIsNothingToWaitFor(t *testing.T) {
	changes, err := (&waitControlPlane{probes: []probe{healthyAfter("etcd", 0)}}).Plan(t.Context())
	if err != nil || len(changes) > 0 {
		t.Errorf("would %v, %v", changes, err)
	}
}

// On a slow host a component that has just been found healthy may take longer to say
// so again than the plan does that follows.
func TestWhoWasWaitedForIsHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) error {
			select {
			case <-time.After(planTimeout + time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		said, err := await(t, &waitControlPlane{
			probes:     []probe{{"etcd", slow}, healthyAfter("kube-apiserver", time.Second)},
			components: nothing, service: &fakeService{running: true}, timeout: time.Minute,
		})
		if err != nil || !strings.Contains(said, "changing wait for etcd, kube-apiserver") {
			t.Errorf("%v after\n%s", err, said)
		}
	})
}

// Asking costs a slow host what the one who is asked needs to come up.
func TestWhoIsSlowToAnswerIsAskedLess(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		time.Millisecond:       pollInterval,
		100 * time.Millisecond: 300 * time.Millisecond,
		probeTimeout:           maxAskPause,
	} {
		if got := pauseAfter(took, askShare, pollInterval, maxAskPause); got != want {
			t.Errorf("after %s: %s, want %s", took, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		_, err := await(t, &waitControlPlane{
			probes: []probe{{"etcd", func(ctx context.Context) error {
				asked.Add(1)
				backoff.Sleep(ctx, 200*time.Millisecond)
				return errors.New("connection refused")
			}}},
			components: nothing, service: &fakeService{running: true}, timeout: 8 * time.Second,
		})
		if n := asked.Load(); err == nil || n > 12 {
			t.Errorf("asked %d times: %v", n, err)
		}
	})
}

// To have waited for some is not to have waited for all.
func TestEachWaitIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := &waitControlPlane{
			probes:     []probe{healthyAfter(config.ComponentAPIServer, time.Second), healthyAfter(config.ComponentScheduler, time.Hour)},
			components: nothing, service: &fakeService{running: true}, timeout: time.Minute,
		}
		if _, err := await(t, all.forAPIServer()); err != nil {
			t.Fatal(err)
		}
		if changes, err := all.Plan(t.Context()); err != nil || len(changes) != 1 {
			t.Errorf("would %v, %v", changes, err)
		}
	})
}

func crashing(pod string, restarts func() int) Components {
	return lookFunc(func() ([]Component, error) {
		return []Component{{Pod: pod, Container: pod, State: ContainerExited, ExitCode: 2, Reason: "Error", Restarts: restarts()}}, nil
	})
}

func TestThreeCrashesEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		everyTwoSeconds := func() int { return int(time.Since(begin) / (2 * time.Second)) }
		_, err := await(t, &waitControlPlane{
			probes:     []probe{healthyAfter("etcd", 0), never("kube-apiserver")},
			components: crashing("kube-apiserver", everyTwoSeconds), service: &fakeService{running: true}, timeout: time.Hour, begun: begin,
		})
		want := `phase wait: wait for kube-apiserver: kube-apiserver ended 3 times
kube-apiserver: container kube-apiserver exited with code 2 (Error), restarted 3 times
kube-apiserver: probe: connection refused`
		if err == nil || err.Error() != want {
			t.Errorf("%v", err)
		}
		if d := time.Since(begin); d > 8*time.Second {
			t.Errorf("took %s", d)
		}
	})
}

// Crashes of pods from before, and of what is healthy, do not count; those of a pod
// that this run made do, also if nobody looked yet, and a replaced one begins anew.
func TestWhichCrashesCount(t *testing.T) {
	begun := time.Now()
	w := newWatcher([]probe{{pod: "etcd"}, {pod: "kube-apiserver"}, {pod: "kube-scheduler"}}, begun)
	w.heard(verdict{2, nil})
	for i, step := range []struct {
		pod, uid string
		since    time.Duration
		state    ContainerState
		restarts int
		before   int
		want     string
	}{
		{"etcd", "a", -time.Hour, ContainerRunning, 7, 0, ""},
		{"etcd", "a", -time.Hour, ContainerExited, 7, 0, ""},   // 1
		{"etcd", "a", -time.Hour, ContainerRunning, 8, 0, ""},  // the same one
		{"etcd", "b", time.Second, ContainerExited, 0, 0, ""},  // a new pod: 1
		{"etcd", "b", time.Second, ContainerRunning, 2, 0, ""}, // 2
		{"etcd", "c", time.Minute, ContainerExited, 1, 0, ""},  // another one: 2
		{"kube-scheduler", "s", 0, ContainerExited, 0, 0, ""},  // healthy, however often it ends
		{"kube-scheduler", "s", 0, ContainerExited, 9, 0, ""},
		{"kube-apiserver", "n", 0, ContainerExited, 1, 0, ""}, // nobody looked at the first: 2
		{"kube-apiserver", "n", 0, ContainerExited, 2, 0, "kube-apiserver"},
		{"etcd", "c", time.Minute, ContainerExited, 2, 0, "etcd"}, // 3
		{"etcd", "d", time.Minute, ContainerWaiting, 3, 3, ""},    // it comes back after three ends
		{"etcd", "d", time.Minute, ContainerExited, 4, 3, ""},     // 2
		{"etcd", "d", time.Minute, ContainerRunning, 5, 4, ""},    // the engine has forgotten the first
		{"etcd", "d", time.Minute, ContainerExited, 5, 4, "etcd"}, // 3
		{"etcd", "d", time.Minute, ContainerRunning, 6, 4, ""},    // the same: it may become healthy yet
		{"etcd", "d", time.Minute, ContainerExited, 6, 4, "etcd"}, // 4
	} {
		c := Component{
			Pod: step.pod, PodUID: step.uid, PodSince: begun.Add(step.since), Container: step.pod,
			State: step.state, Restarts: step.restarts, Before: step.before,
		}
		if got, _ := w.saw(sight{containers: []Component{c}}); got != step.want {
			t.Errorf("step %d: %q", i, got)
		}
	}
}

func TestTheReport(t *testing.T) {
	log := filepath.Join(t.TempDir(), "0.log")
	var lines strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lines, "2026-01-02T03:04:05.678901234Z stderr F line %d of the log\n", i)
	}
	if err := os.WriteFile(log, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	look := lookFunc(func() ([]Component, error) {
		return []Component{
			{Pod: "etcd", Container: "etcd", State: ContainerWaiting, Reason: "ErrImagePull"},
			{Pod: "kube-apiserver", Container: "kube-apiserver", State: ContainerRunning, Restarts: 1, LogPath: log},
		}, nil
	})
	synctest.Test(t, func(t *testing.T) {
		p := &waitControlPlane{
			probes:     []probe{healthyAfter("etcd", 0), never("kube-apiserver"), never("kube-scheduler")},
			components: look, service: &fakeService{}, timeout: 4 * time.Minute,
		}
		_, err := await(t, p)
		var want strings.Builder
		want.WriteString(`phase wait: wait for kube-apiserver, kube-scheduler: kube-apiserver is not healthy after 4m0s
the kubelet loop, which starts all of them, does not run
kube-apiserver: container kube-apiserver is running, restarted once
kube-apiserver: probe: connection refused
kube-apiserver: the last lines of its log:
`)
		for i := 10; i < 30; i++ {
			fmt.Fprintf(&want, "  line %d of the log\n", i)
		}
		if err == nil {
			t.Fatal("no error")
		}
		if diff := cmp.Diff(strings.TrimSpace(want.String()), err.Error()); diff != "" {
			t.Error(diff)
		}
		wantError(t, err, "", "the whole log is in "+log)
	})
}

// The API server ends when it finds no etcd: both are shown.
func TestTheReportShowsTheCauseBeforeTheVictim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, err := await(t, &waitControlPlane{
			probes:     []probe{never("etcd"), never("kube-apiserver")},
			components: crashing("kube-apiserver", func() int { return int(time.Since(begin) / time.Second) }),
			service:    &fakeService{running: true}, timeout: time.Hour,
		})
		for _, want := range []string{"kube-apiserver ended 3 times", "etcd has no container yet", "etcd: probe: connection refused"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v does not say %q", err, want)
			}
		}
	})
}

func TestContainersThatCannotBeLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := await(t, &waitControlPlane{
			probes:     []probe{never("etcd")},
			components: lookFunc(func() ([]Component, error) { return nil, errors.New("dial unix: no such file") }),
			service:    &fakeService{running: true}, timeout: time.Minute,
		})
		if err == nil || !strings.Contains(err.Error(), "the containers cannot be looked at: dial unix: no such file") {
			t.Error(err)
		}
	})
}

func TestInterruptedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancelCause(t.Context())
		p := &waitControlPlane{probes: []probe{never("etcd")}, components: nothing, service: &fakeService{}, timeout: time.Hour}
		reason := errors.New("interrupted")
		time.AfterFunc(time.Second, func() { interrupt(reason) })
		if err := p.wait(ctx); !errors.Is(err, reason) || !strings.Contains(err.Error(), "waiting for etcd") {
			t.Error(err)
		}
	})
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		begin := time.Now()
		err := until(t.Context(), time.Second, func(ctx context.Context) (bool, error) {
			if time.Since(begin) > 500*time.Millisecond {
				<-ctx.Done() // the last attempt hangs, and knows nothing
				return false, ctx.Err()
			}
			return false, refused
		})
		if !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), "gave up after 1s") {
			t.Error(err)
		}

		reason := errors.New("interrupted")
		ctx, interrupt := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { interrupt(reason) })
		err = until(ctx, time.Hour, func(context.Context) (bool, error) { return false, refused })
		if !errors.Is(err, reason) || !errors.Is(err, refused) {
			t.Error(err)
		}
	})
}
