package kubelet

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

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
	"boot.internal/kubelet/spec"
	"boot.internal/kubelet/worker"
)

// A crew is a dispatcher with real workers on a fake runtime.
type crew struct {
	*dispatcher
	t       *testing.T
	cri     *fake.CRI
	runtime *runtime.Runtime

	mu       sync.Mutex // guards the fields below
	last     told
	news     []string // rejections that were told, "name: reason"
	repeated int      // those told again
	offer    admit.Node
	over     map[types.UID]bool
	forgot   []types.UID
	resumed  []string // pods that ran before, by name
}

// Told is what the dispatcher told last, by name.
type told struct{ admitted, rejected, going []string }

// onCrew runs f with a dispatcher that is ended afterwards.
func onCrew(t *testing.T, f func(ctx context.Context, c *crew)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &crew{dispatcher: newDispatcher(slog.New(slog.DiscardHandler)), t: t, cri: fake.New(), over: map[types.UID]bool{}}
		dir := t.TempDir()
		r := runtime.New(runtime.Options{
			CRI: c.cri.Runtime(), Images: anyImage{}, Node: func() spec.Node { return spec.Node{Name: "n1"} },
			PodsDir: dir + "/pods", PodLogsDir: dir + "/logs", KillMessage: plan.Message,
			Event: func(*v1.Pod, string, string, string, string) {}, Log: slog.New(slog.DiscardHandler),
		})
		c.runtime = r
		c.newWorker = func(key pod.Key) *worker.Worker {
			return worker.New(key, worker.Options{
				Runtime: r, Prober: noProbes{}, Plan: plan.For, Logger: slog.New(slog.DiscardHandler),
				Say:     func(pod.Key, *pod.Want, pod.Observed) {},
				Release: func(context.Context, *v1.Pod) error { return nil },
				Clean:   func(context.Context, pod.Key, types.UID) error { return nil },
			})
		}
		c.desiredChanged, c.admission = c.tell, c.desk()
		ended := make(chan struct{})
		go func() { defer close(ended); c.run(ctx) }()
		f(ctx, c)
		cancel()
		<-ended
	})
}

func (c *crew) tell(admitted, rejected, going []*v1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = told{names(admitted), names(rejected), names(going)}
}

func (c *crew) expectTold(admitted, going string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if strings.Join(c.last.admitted, " ") != admitted || strings.Join(c.last.going, " ") != going {
		c.t.Errorf("told of %v and, going, %v; want %q and %q", c.last.admitted, c.last.going, admitted, going)
	}
}

func names(pods []*v1.Pod) []string {
	var all []string
	for _, p := range pods {
		all = append(all, p.Name)
	}
	slices.Sort(all)
	return all
}

// want says what the file source wants and lets everything settle.
func (c *crew) want(pods ...*v1.Pod) {
	c.desired <- desired{pods: pods, synced: map[string]bool{pod.SourceFile: true}}
	synctest.Wait()
}

func (c *crew) expectRunning(want ...string) {
	c.t.Helper()
	got := c.cri.Running()
	slices.Sort(got)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		c.t.Errorf("running %v, want %v", got, want)
	}
}

type anyImage struct{}

func (anyImage) Ensure(_ context.Context, _ *v1.Pod, c *v1.Container) (*cri.Image, error) {
	return &cri.Image{Id: c.Image}, nil
}

type noProbes struct{}

func (noProbes) Sync(*v1.Pod, pod.Observed, bool)        {}
func (noProbes) Verdicts(pod.Key) map[string]pod.Verdict { return nil }
func (noProbes) Forget(pod.Key)                          {}

// static returns a pod with one container of the same name.
func static(name string, uid types.UID) *v1.Pod {
	p := &v1.Pod{}
	p.Namespace, p.Name, p.UID = "default", name, uid
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile, pod.ConfigHash: string(uid)}
	p.Spec = v1.PodSpec{
		HostNetwork: true, RestartPolicy: v1.RestartPolicyAlways,
		Containers: []v1.Container{{Name: name, Image: "i:1", ImagePullPolicy: v1.PullIfNotPresent}},
	}
	return p
}

func TestPodsComeAndGo(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		c.want(static("a", "1"), static("b", "2"))
		c.expectRunning("a", "b")
		c.want(static("b", "2"))
		c.expectRunning("b")
		c.expectTold("b", "")
	})
}

func TestUnchangedPodsAreLeftAlone(t *testing.T) { // SP-16
	onCrew(t, func(_ context.Context, c *crew) {
		c.want(static("a", "1"))
		c.cri.ForgetCalls()
		c.want(static("a", "1"))
		if calls := c.cri.Calls(); len(calls) > 0 {
			t.Errorf("calls %v", calls)
		}
	})
}

func TestReplacedInOneMerge(t *testing.T) { // SP-37
	onCrew(t, func(_ context.Context, c *crew) {
		c.want(static("a", "1"))
		c.want(static("a", "2"))
		c.expectRunning("a")
	})
}

func TestPodsOnTheirWayOutAreStillTold(t *testing.T) { // SP-56
	onCrew(t, func(_ context.Context, c *crew) {
		c.cri.Script("a", fake.Program{StopTakes: 5 * time.Second})
		p := static("a", "1")
		p.Spec.TerminationGracePeriodSeconds = new(int64(30))
		c.want(p)
		c.want()
		c.expectTold("", "a")
		time.Sleep(5 * time.Second)
		synctest.Wait()
		c.expectTold("", "")
	})
}

func TestWantedAgainInTheMomentOfItsEnd(t *testing.T) { // SP-41
	onCrew(t, func(_ context.Context, c *crew) {
		for range 20 {
			c.want(static("a", "1"))
			c.desired <- desired{synced: map[string]bool{pod.SourceFile: true}}
			c.want(static("a", "1"))
			c.expectRunning("a")
		}
	})
}

// What runs without being wanted is ended once its source has had its say, and
// not before (SP-45, SP-46).
func TestOrphansEnd(t *testing.T) {
	onCrew(t, func(ctx context.Context, c *crew) {
		c.want(static("a", "1"))
		c.expectRunning("a")

		// Another process of boot, which knows nothing yet.
		d := newDispatcher(slog.New(slog.DiscardHandler))
		d.newWorker, d.desiredChanged, d.admission = c.newWorker, c.tell, c.desk()
		var life sync.WaitGroup
		ctx, cancel := context.WithCancel(ctx)
		life.Go(func() { d.run(ctx) })
		key := pod.Key{Namespace: "default", Name: "a"}
		d.listed <- []found{{key: key, origin: pod.SourceFile}, {key: pod.Key{Name: "alien"}}}
		synctest.Wait()
		c.expectRunning("a")
		d.desired <- desired{synced: map[string]bool{pod.SourceHTTP: true}}
		synctest.Wait()
		c.expectRunning("a")
		d.desired <- desired{synced: map[string]bool{pod.SourceFile: true}}
		synctest.Wait()
		c.expectRunning()
		cancel()
		life.Wait()
	})
}

// Whether a dispatcher is alive is seen of itself, not of those who depend on it.
func TestDispatcherIsAlive(t *testing.T) {
	onCrew(t, func(ctx context.Context, c *crew) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := c.alive(ctx); err != nil {
			t.Error(err)
		}
		stuck := newDispatcher(slog.New(slog.DiscardHandler)) // nobody runs it
		if err := stuck.alive(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("of one that does nothing: %v", err)
		}
	})
}
