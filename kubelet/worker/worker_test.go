package worker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
	"boot.internal/kubelet/spec"
)

// A node is a worker on a fake runtime, with everything that happened.
type node struct {
	t      *testing.T
	cri    *fake.CRI
	worker *Worker
	done   chan struct{}
	begin  func() // runs the worker with its first want

	mu      sync.Mutex // guards the fields below
	pull    func(ctx context.Context, image string) error
	cleaned []types.UID
	said    []pod.Observed
}

func newNode(t *testing.T) *node {
	n := &node{t: t, cri: fake.New(), done: make(chan struct{})}
	dir := t.TempDir()
	r := runtime.New(runtime.Options{
		CRI: n.cri.Runtime(), Images: n, Node: func() spec.Node { return spec.Node{Name: "n1"} },
		PodsDir: dir + "/pods", PodLogsDir: dir + "/logs",
		Event: func(*v1.Pod, string, string, string, string) {}, KillMessage: plan.Message,
		Log: slog.New(slog.DiscardHandler),
	})
	n.worker = New(pod.Key{Namespace: "default", Name: "p"}, Options{
		Runtime: r, Prober: noProbes{}, Plan: plan.For,
		Say: func(_ pod.Key, _ *pod.Want, have pod.Observed) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.said = append(n.said, have)
		},
		Release: func(context.Context, *v1.Pod) error { return nil },
		Clean: func(_ context.Context, _ pod.Key, uid types.UID) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.cleaned = append(n.cleaned, uid)
			return nil
		},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	return n
}

// run starts the worker, and the events that poke it.
func (n *node) run(ctx context.Context) {
	events, err := n.cri.Runtime().GetContainerEvents(ctx, &cri.GetEventsRequest{})
	if err != nil {
		n.t.Fatal(err)
	}
	go func() {
		for {
			if _, err := events.Recv(); err != nil {
				return
			}
			n.worker.Poke()
		}
	}()
	go func() {
		defer close(n.done)
		n.worker.Run(ctx)
	}()
}

// Ensure is a pull.
func (n *node) Ensure(ctx context.Context, _ *v1.Pod, c *v1.Container) (*cri.Image, error) {
	n.mu.Lock()
	pull := n.pull
	n.mu.Unlock()
	if pull != nil {
		if err := pull(ctx, c.Image); err != nil {
			return nil, &pod.ActionError{Reason: "ErrImagePull", Err: err}
		}
	}
	return &cri.Image{Id: "sha256:" + c.Image}, nil
}

// want sets what is desired and lets everything settle.
func (n *node) want(p *v1.Pod) {
	var want *pod.Want
	if p != nil {
		want = &pod.Want{Pod: p}
	}
	n.worker.Want(want)
	n.begin()
	synctest.Wait()
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// calls returns what was done to sandboxes and containers since last asked.
func (n *node) calls() []string {
	var all []string
	for _, c := range n.cri.Calls() {
		all = append(all, c.Method)
	}
	n.cri.ForgetCalls()
	return all
}

func (n *node) expectCalls(want ...string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.calls()); diff != "" {
		n.t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func (n *node) expectRunning(want ...string) {
	n.t.Helper()
	got := n.cri.Running()
	slices.Sort(got)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		n.t.Errorf("running %v, want %v", got, want)
	}
}

func (n *node) expectCleaned(want ...types.UID) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.cleaned)
	if !slices.Equal(n.cleaned, want) {
		n.t.Errorf("cleaned %v, want %v", n.cleaned, want)
	}
}

// expectEnd waits for the worker's life to be over.
func (n *node) expectEnd() {
	n.t.Helper()
	synctest.Wait()
	select {
	case <-n.done:
	default:
		n.t.Error("the worker lives on")
	}
}

// noProbes is a prober of pods without probes.
type noProbes struct{}

func (noProbes) Sync(*v1.Pod, pod.Observed, bool)        {}
func (noProbes) Verdicts(pod.Key) map[string]pod.Verdict { return nil }
func (noProbes) Forget(pod.Key)                          {}

func testPod(uid types.UID, change ...func(*v1.Pod)) *v1.Pod {
	p := &v1.Pod{}
	p.Namespace, p.Name, p.UID = "default", "p", uid
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile, pod.ConfigHash: string(uid)}
	p.Spec = v1.PodSpec{
		HostNetwork: true, RestartPolicy: v1.RestartPolicyAlways, TerminationGracePeriodSeconds: new(int64(30)),
		Containers: []v1.Container{{Name: "main", Image: "i:1", ImagePullPolicy: v1.PullIfNotPresent}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

// test runs f in a bubble, with a running worker that is ended afterwards.
func test(t *testing.T, f func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		ctx, cancel := context.WithCancel(t.Context())
		n.begin = sync.OnceFunc(func() { n.run(ctx) })
		f(t, n)
		cancel()
		<-n.done
	})
}

func TestLife(t *testing.T) {
	test(t, func(_ *testing.T, n *node) {
		n.want(testPod("1"))
		n.expectCalls("RunPodSandbox", "CreateContainer", "StartContainer")
		n.cri.Exit("main", 1)
		synctest.Wait()
		n.expectCalls("CreateContainer", "StartContainer") // the first crash is not waited for
		n.cri.Exit("main", 1)
		pass(9 * time.Second)
		n.expectRunning() // IC-20: the second is, 10 s
		pass(2 * time.Second)
		n.expectRunning("main")
		n.want(nil)
		n.expectEnd()
		n.expectRunning()
		n.expectCleaned("1")
	})
}

func TestReplacedPodStartsWhenTheOldOneIsGone(t *testing.T) { // SP-37, SP-38, SP-39
	test(t, func(_ *testing.T, n *node) {
		n.cri.Script("main", fake.Program{StopTakes: 7 * time.Second})
		n.want(testPod("1"))
		n.calls()
		n.want(testPod("2"))
		n.want(testPod("3"))
		pass(7*time.Second - time.Millisecond)
		n.expectCalls("StopContainer")
		pass(time.Millisecond)
		n.expectCalls("StopPodSandbox", "RemovePodSandbox", "RunPodSandbox", "CreateContainer", "StartContainer")
		n.expectCleaned("1", "2")
	})
}

func TestWantedAgainWhileItEnds(t *testing.T) { // SP-41, SP-42
	test(t, func(t *testing.T, n *node) {
		n.cri.Script("main", fake.Program{StopTakes: 5 * time.Second})
		n.want(testPod("1"))
		n.want(nil)
		n.want(testPod("1"))
		pass(5 * time.Second)
		n.expectRunning("main")
		n.mu.Lock()
		defer n.mu.Unlock()
		last := n.said[len(n.said)-1]
		if c, ok := last.NewestOf("1", "main"); !ok || c.Attempt != 1 || !last.Stopping.IsZero() {
			t.Errorf("restart count %d, stopping %v; want 1 and not", c.Attempt, last.Stopping)
		}
	})
}

func TestShorterGraceOvertakesAKill(t *testing.T) { // SP-44
	test(t, func(_ *testing.T, n *node) {
		n.cri.Script("main", fake.Program{IgnoreTerm: true})
		p := testPod("1")
		n.want(p)
		began := time.Now()
		n.worker.Want(&pod.Want{Pod: p, Stop: &pod.Stop{Since: began, Grace: time.Hour}})
		pass(10 * time.Second)
		n.expectRunning("main")
		n.worker.Want(&pod.Want{Pod: p, Stop: &pod.Stop{Since: began, Grace: 15 * time.Second}})
		pass(5*time.Second - time.Millisecond)
		n.expectRunning("main")
		pass(time.Millisecond)
		n.expectRunning()
	})
}

func TestPullIsAbandonedWhenThePodChanges(t *testing.T) {
	test(t, func(_ *testing.T, n *node) {
		n.pull = func(ctx context.Context, image string) error {
			if image == "i:1" {
				<-ctx.Done()
			}
			return ctx.Err()
		}
		n.want(testPod("1"))
		n.expectRunning()
		n.want(testPod("1", func(p *v1.Pod) { p.Spec.Containers[0].Image = "i:2" }))
		n.expectRunning("main")
	})
}

func TestRemovedWhileItStarts(t *testing.T) {
	test(t, func(_ *testing.T, n *node) {
		n.pull = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
		n.want(testPod("1"))
		n.want(nil)
		n.expectEnd()
		n.expectCleaned("1")
	})
}

func TestHookRunsThoughAnotherKillWasInFlight(t *testing.T) { // IC-32
	test(t, func(t *testing.T, n *node) {
		var hooks int
		n.cri.OnExec(func(string, []string) (string, int32) { hooks++; return "", 0 })
		n.cri.Script("slow", fake.Program{IgnoreTerm: true})
		hook := &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"bye"}}}
		p := testPod("1", func(p *v1.Pod) {
			p.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PreStop: hook}
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "slow", Image: "i:1"})
		})
		n.want(p)
		n.want(testPod("1", func(q *v1.Pod) { // a new image restarts "slow", which takes 30 s
			*q = *p.DeepCopy()
			q.Spec.Containers[1].Image = "i:2"
		}))
		pass(time.Second)
		n.want(nil)
		pass(time.Minute)
		n.expectEnd()
		if hooks != 1 {
			t.Errorf("preStop ran %d times, want once", hooks)
		}
	})
}

func TestFailedActionsBackOff(t *testing.T) {
	test(t, func(t *testing.T, n *node) {
		n.cri.Fail("RunPodSandbox", 15, errors.New("no cgroup"))
		n.want(testPod("1"))
		pass(10 * time.Minute)
		if tries := n.cri.Count("RunPodSandbox"); tries != 15 { // at 0, 1, 3, 7, 15, 31, 63 s, then once a minute
			t.Errorf("%d tries in 10 min", tries)
		}
		n.mu.Lock()
		failure := n.said[len(n.said)-1].Failures[""]
		n.mu.Unlock()
		if failure.Reason != "FailedCreatePodSandBox" || !strings.Contains(failure.Message, "no cgroup") {
			t.Errorf("failure %+v", failure)
		}
		n.worker.Retry()
		synctest.Wait()
		n.expectRunning("main")
	})
}

func TestFailedPullOfOneContainerKeepsNoOtherFromStarting(t *testing.T) { // IC-10
	test(t, func(_ *testing.T, n *node) {
		n.pull = func(_ context.Context, image string) error {
			if image == "gone:1" {
				return errors.New("not found")
			}
			return nil
		}
		n.want(testPod("1", func(p *v1.Pod) {
			p.Spec.Containers = append([]v1.Container{{Name: "broken", Image: "gone:1"}}, p.Spec.Containers...)
		}))
		pass(time.Second)
		n.expectRunning("main")
	})
}

func TestEndOfBootLeavesPodsRunning(t *testing.T) { // IC-25
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		ctx, cancel := context.WithCancel(t.Context())
		n.begin = sync.OnceFunc(func() { n.run(ctx) })
		n.want(testPod("1"))
		cancel()
		<-n.done
		n.expectRunning("main")
		n.calls()

		ctx, cancel = context.WithCancel(t.Context())
		n.worker, n.done = New(n.worker.key, n.worker.o), make(chan struct{})
		n.worker.Want(&pod.Want{Pod: testPod("1")})
		n.run(ctx)
		synctest.Wait()
		n.expectCalls()
		cancel()
		<-n.done
	})
}

// What a pod holds is given back once it is over, again and again until that goes
// well, and then no more.
func TestRelease(t *testing.T) {
	test(t, func(t *testing.T, n *node) {
		var tries []types.UID
		n.worker.o.Release = func(_ context.Context, p *v1.Pod) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if tries = append(tries, p.UID); len(tries) < 3 {
				return errors.New("busy")
			}
			return nil
		}
		p := testPod("1")
		p.Spec.RestartPolicy = v1.RestartPolicyNever
		n.cri.Script(p.Spec.Containers[0].Name, fake.Program{Runs: time.Second})
		n.want(p)
		count := func() (released, cleaned int) {
			n.mu.Lock()
			defer n.mu.Unlock()
			return len(tries), len(n.cleaned)
		}
		if released, _ := count(); released > 0 {
			t.Errorf("released while it runs")
		}
		pass(time.Minute)
		if released, cleaned := count(); released != 3 || cleaned != 0 {
			t.Errorf("%d tries, cleaned %d times", released, cleaned)
		}
	})
}
