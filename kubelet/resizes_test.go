package kubelet

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/resize"
)

// sized is a version of a pod that asks for so much CPU.
func sized(name string, uid types.UID, generation int64, cpu string) *v1.Pod {
	p := with(assigned(name, uid), 80, cpu)
	p.Spec.Containers[0].Ports = nil
	p.Generation = generation
	return p
}

// A worker is given what a pod is allocated, which follows what it asks for once
// there is room (KEP-1287).
func TestWorkersGetWhatIsAllocated(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		var news []string
		c.set(func() {
			c.offer.Allocatable = twoCPUs()
			c.ledger = resize.Open(t.TempDir(), nil, slog.New(slog.DiscardHandler))
			c.resizeNews = func(n resize.News) { news = append(news, n.Pod.Name+": "+n.Reason) }
		})
		expect := func(cpu string, generation int64, want ...string) {
			t.Helper()
			synctest.Wait()
			p := c.wants[pod.Key{Namespace: "default", Name: "b"}].Pod
			if got := p.Spec.Containers[0].Resources.Requests.Cpu().String(); got != cpu || p.Generation != generation {
				t.Errorf("the worker is to run generation %d with %s, want %d with %s", p.Generation, got, generation, cpu)
			}
			if !slices.Equal(news, want) {
				t.Errorf("news %v, want %v", news, want)
			}
			news = nil
		}
		a := sized("a", "1", 1, "1")
		c.want(a, sized("b", "2", 1, "500m"))
		expect("500m", 1)
		c.want(a, sized("b", "2", 2, "800m"))
		expect("800m", 2, "b: ResizeStarted")
		c.want(a, sized("b", "2", 3, "1500m"))
		expect("800m", 3, "b: ResizeDeferred")
		c.want(a, sized("b", "2", 3, "1500m"), sized("late", "3", 1, "500m"))
		expect("800m", 3)
		c.expectRejected("late", "late: OutOfcpu") // what b has counts, not what it would like
		c.set(func() { c.over["1"] = true })
		expect("1500m", 3, "b: ResizeStarted")
		c.expectRunning("a", "b")
	})
}

func TestResizeEvents(t *testing.T) {
	k := telling(t)
	p := sized("a", "1", 3, "1")
	now := func(cond ...v1.PodCondition) v1.PodStatus {
		return v1.PodStatus{Phase: v1.PodRunning, Conditions: cond}
	}
	going := v1.PodCondition{Type: v1.PodResizeInProgress, Status: v1.ConditionTrue, ObservedGeneration: 2}
	failed := going
	failed.Reason, failed.Message = v1.PodReasonError, "no"
	ended := now()
	ended.Phase = v1.PodFailed
	for _, c := range []struct {
		name, reason string
		before, now  v1.PodStatus
	}{
		{"it starts", "", now(), now(going)},
		{"it goes on", "", now(going), now(going)},
		{"it is done", "ResizeCompleted", now(going), now()},
		{"it fails", "ResizeError", now(going), now(failed)},
		{"it fails again", "", now(failed), now(failed)},
		{"it is done after all", "ResizeCompleted", now(failed), now()},
		{"the pod ends", "", now(going), ended},
	} {
		k.events.pending = nil
		k.sayResized(p, c.before, c.now)
		reason := ""
		if n := len(k.events.pending); n > 0 {
			reason = k.events.pending[n-1].reason
		}
		if reason != c.reason || len(k.events.pending) > 1 {
			t.Errorf("%s: event %q, want %q", c.name, reason, c.reason)
		}
	}
}
