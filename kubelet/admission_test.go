package kubelet

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime/fake"
)

// desk is an admission that remembers what it is told.
func (c *crew) desk() admission {
	return admission{
		node: func() admit.Node {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.offer
		},
		before: func(ctx context.Context) map[pod.Key][]types.UID {
			all, err := c.runtime.Keys(ctx)
			if err != nil {
				c.t.Error(err)
			}
			return uids(all)
		},
		resumed: func(p *v1.Pod) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.resumed = append(c.resumed, p.Name)
		},
		over: func(uid types.UID) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.over[uid]
		},
		rejected: func(p *v1.Pod, why admit.Rejection, news bool) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if news {
				c.news = append(c.news, p.Name+": "+why.Reason)
			} else {
				c.repeated++
			}
		},
		forget: func(uid types.UID) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.forgot = append(c.forgot, uid)
		},
	}
}

// set changes what the admission says, asks to look again and lets everything
// settle.
func (c *crew) set(change func()) {
	c.mu.Lock()
	change()
	c.mu.Unlock()
	c.recheck()
	synctest.Wait()
}

// expectRejected compares which pods are rejected now, and what was told of
// rejections since the last call.
func (c *crew) expectRejected(rejected string, news ...string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.last.rejected, " "); got != rejected {
		c.t.Errorf("rejected %q, want %q", got, rejected)
	}
	if !slices.Equal(c.news, news) {
		c.t.Errorf("news %q, want %q", c.news, news)
	}
	c.news = nil
}

// with returns p with a port of the node and a request for CPU.
func with(p *v1.Pod, port int32, cpu string) *v1.Pod {
	c := &p.Spec.Containers[0]
	c.Ports = []v1.ContainerPort{{ContainerPort: port, HostPort: port, Protocol: v1.ProtocolTCP}}
	c.Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)}
	return p
}

func twoCPUs() v1.ResourceList { return v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")} }

func TestRejectedPodRunsOnceNothingIsInItsWay(t *testing.T) { // SP-35
	onCrew(t, func(_ context.Context, c *crew) {
		a, b := with(static("a", "1"), 80, "1"), with(static("b", "2"), 80, "1")
		c.cri.Script("a", fake.Program{StopTakes: 5 * time.Second})
		a.Spec.TerminationGracePeriodSeconds = new(int64(30))
		c.want(a, b)
		c.expectRunning("a")
		c.expectRejected("b", "b: NodePorts")
		c.want(a, b)
		c.expectRejected("b")

		c.want(b)
		time.Sleep(5*time.Second - time.Nanosecond)
		synctest.Wait()
		c.expectRunning("a")
		c.expectTold("", "a")
		c.expectRejected("b")
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		c.expectRunning("b")
		c.expectTold("b", "")
		c.expectRejected("")
	})
}

func TestRejectedPodRunsOnceItFits(t *testing.T) { // SP-35
	onCrew(t, func(_ context.Context, c *crew) {
		a := with(static("a", "1"), 80, "1")
		c.want(a, with(static("b", "2"), 80, "1"))
		c.expectRejected("b", "b: NodePorts")
		c.want(a, with(static("b", "3"), 81, "1"))
		c.expectRunning("a", "b")
		c.expectRejected("")
		if !slices.Equal(c.forgot, []types.UID{"2"}) {
			t.Errorf("forgot %v, want the version that never ran", c.forgot)
		}
	})
}

func TestRejectedPodRunsOnceTheNodeIsAsItAsks(t *testing.T) { // SP-35
	onCrew(t, func(_ context.Context, c *crew) {
		p := static("a", "1")
		p.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		c.want(p)
		c.expectRejected("a", "a: NodeAffinity")
		c.set(func() { c.offer.Labels = map[string]string{"disk": "ssd"} })
		c.expectRunning("a")
		c.expectRejected("")
		c.set(func() { c.offer.Labels = nil })
		c.expectRunning("a") // what runs is not asked again
	})
}

// A pod that was deleted by force ends in its own time, and its place is free.
func TestPodTheAPIForgotHoldsNothing(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		ofAPI := func(name string, uid types.UID) *v1.Pod {
			p := with(static(name, uid), 80, "2")
			p.Annotations = nil
			return p
		}
		c.cri.Script("a", fake.Program{StopTakes: 2 * time.Second})
		c.want(ofAPI("a", "1"))
		c.expectRunning("a")
		c.want(ofAPI("b", "2"))
		c.expectRunning("a", "b")
		c.expectRejected("")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		c.expectRunning("b")
	})
}

func TestPodThatIsOverHoldsNothing(t *testing.T) { // SP-47
	onCrew(t, func(_ context.Context, c *crew) {
		a := with(static("a", "1"), 80, "1")
		a.Spec.RestartPolicy = v1.RestartPolicyNever
		c.want(a, with(static("b", "2"), 80, "1"))
		c.expectRejected("b", "b: NodePorts")
		c.cri.Exit("a", 0)
		c.set(func() { c.over["1"] = true })
		c.expectRunning("b")
		c.expectTold("a b", "")
	})
}

func TestEachRejectionIsNewsOnce(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		c.set(func() { c.offer.Allocatable = twoCPUs() })
		a := with(static("a", "1"), 80, "2")
		c.want(a, with(static("b", "2"), 80, "1"))
		c.expectRejected("b", "b: NodePorts")
		c.want(a, with(static("b", "3"), 81, "1"))
		c.expectRejected("b", "b: OutOfcpu")
		c.pokes <- pod.Key{Namespace: "default", Name: "b"}
		synctest.Wait()
		c.expectRejected("b")
		if c.repeated != 1 {
			t.Errorf("told again %d times, want 1: a poke asks for it", c.repeated)
		}
		c.want(a)
		c.expectRejected("")
		if !slices.Equal(c.forgot, []types.UID{"2", "3"}) {
			t.Errorf("forgot %v, want what is not desired any more", c.forgot)
		}
	})
}

func TestReplacementComesBeforeOthersThatWait(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		c.set(func() { c.offer.Allocatable = twoCPUs() })
		waits := with(static("a", "1"), 80, "2")
		c.want(with(static("b", "2"), 81, "2"))
		c.want(waits, with(static("b", "2"), 81, "2"))
		c.expectRejected("a", "a: OutOfcpu")
		c.want(waits, with(static("b", "3"), 82, "2"))
		c.expectRunning("b")
		c.expectRejected("a")
	})
}

func TestReplacementThatDoesNotFit(t *testing.T) { // SP-37
	onCrew(t, func(_ context.Context, c *crew) {
		c.cri.Script("b", fake.Program{StopTakes: 5 * time.Second})
		a := with(static("a", "1"), 80, "1")
		b := with(static("b", "2"), 81, "1")
		b.Spec.TerminationGracePeriodSeconds = new(int64(30))
		c.want(a, b)
		c.want(a, with(static("b", "3"), 80, "1"), with(static("c", "4"), 81, "1"))
		c.expectRejected("b c", "b: NodePorts", "c: NodePorts") // the old b holds its port to the end
		c.expectTold("a", "")                                   // only one b is told of
		time.Sleep(5 * time.Second)
		synctest.Wait()
		c.expectRunning("a", "c")
		c.expectRejected("b")
		if c.repeated == 0 {
			t.Error("what was told of the rejected b may have been overwritten by the end of the old one")
		}
		c.want(with(static("b", "3"), 80, "1"))
		c.expectRunning("b")
	})
}

// What runs goes on when boot is started again, whatever the order of the
// sources and the node say (SP-34); what replaced it meanwhile is asked next.
func TestRunningPodsStayOverARestart(t *testing.T) {
	onCrew(t, func(ctx context.Context, c *crew) {
		b := with(static("b", "2"), 80, "1")
		b.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		c.set(func() { c.offer = admit.Node{Labels: map[string]string{"disk": "ssd"}, Allocatable: twoCPUs()} })
		c.want(b, with(static("d", "4"), 82, "1"))
		c.expectRunning("b", "d")
		c.cri.ForgetCalls()
		c.set(func() { c.offer.Labels = nil }) // no Node object is known yet

		d := newDispatcher(slog.New(slog.DiscardHandler))
		d.newWorker, d.desiredChanged, d.admission = c.newWorker, c.tell, c.desk()
		var life sync.WaitGroup
		ctx, cancel := context.WithCancel(ctx)
		life.Go(func() { d.run(ctx) })
		d.desired <- desired{
			pods: []*v1.Pod{
				with(static("a", "1"), 80, "1"), b, with(static("c", "3"), 83, "1"), with(static("d", "5"), 82, "1"),
			},
			synced: map[string]bool{pod.SourceFile: true},
		}
		synctest.Wait()
		c.expectRunning("b", "d")
		c.expectTold("b d", "")
		c.expectRejected("a c", "a: NodePorts", "c: OutOfcpu")
		if n := c.cri.Count("StopContainer"); n != 1 {
			t.Errorf("%d containers stopped, want that of d alone", n)
		}
		d.recheck()
		synctest.Wait()
		if !slices.Equal(c.resumed, []string{"b"}) {
			t.Errorf("told once of pods that go on: %q", c.resumed)
		}
		cancel()
		life.Wait()
	})
}
