package kubelet

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime/fake"
)

// assigned returns a pod of the API with one container of the same name.
func assigned(name string, uid types.UID) *v1.Pod {
	p := static(name, uid)
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceAPI}
	p.Spec.TerminationGracePeriodSeconds = new(int64(600))
	return p
}

// deletedIn returns the pod as the API has it once it is to be gone by then.
func deletedIn(p *v1.Pod, grace time.Duration) *v1.Pod {
	p = p.DeepCopy()
	p.DeletionTimestamp = new(metav1.NewTime(time.Now().Add(grace)))
	p.DeletionGracePeriodSeconds = new(int64(grace / time.Second))
	return p
}

func TestDeletedInTheAPI(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		c.cri.Script("a", fake.Program{StopTakes: time.Hour})
		p := assigned("a", "1")
		c.want(p)
		c.want(deletedIn(p, 10*time.Minute))
		time.Sleep(time.Minute)
		c.expectRunning("a")
		c.want(deletedIn(p, 5*time.Second)) // SP-44
		time.Sleep(6 * time.Second)
		synctest.Wait()
		c.expectRunning()
		c.want(deletedIn(p, 0)) // the API waits for a finalizer
		c.expectRunning()
		c.want()
		c.expectTold("", "")
	})
}

func TestStopsOfTheNode(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		p := assigned("a", "1")
		c.want(p, assigned("b", "2"))
		c.ends <- end{"1", pod.Stop{Since: time.Now(), Grace: time.Second, Reason: "Evicted"}}
		synctest.Wait()
		c.expectRunning("b")
		p = p.DeepCopy()
		p.Labels = map[string]string{"a": "b"}
		c.want(p, assigned("b", "2"))
		c.expectRunning("b") // it is not started again, whatever becomes of it in the API
	})
}

func TestSoonerStop(t *testing.T) {
	now := time.Now()
	evicted := pod.Stop{Since: now, Grace: time.Minute, Reason: "Evicted", Message: "memory", Disruption: "memory"}
	soon := pod.Stop{Since: now.Add(time.Second), Grace: time.Second}
	late := pod.Stop{Since: now, Grace: time.Hour}
	if s := sooner(evicted, soon); s.Reason != "Evicted" || s.Disruption != "memory" || s.End() != soon.End() {
		t.Errorf("%+v", s)
	}
	if s := sooner(evicted, late); s != evicted {
		t.Errorf("%+v", s)
	}
}

func TestDeadline(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		begin := time.Now()
		c.started = func(types.UID) time.Time { return begin }
		var expired []string
		c.expired = func(p *v1.Pod) { expired = append(expired, p.Name) }
		p, q := assigned("a", "1"), assigned("b", "2")
		p.Spec.ActiveDeadlineSeconds, q.Spec.ActiveDeadlineSeconds = new(int64(60)), new(int64(7200))
		c.want(p, q)
		time.Sleep(59 * time.Second)
		c.expectRunning("a", "b")
		time.Sleep(time.Second)
		synctest.Wait()
		c.expectRunning("b")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		c.expectRunning()
		if !slices.Equal(expired, []string{"a", "b"}) {
			t.Errorf("expired %v", expired)
		}
	})
}

// What was rejected of the API is for good; its place in the line is the user's to
// clear.
func TestRejectedInTheAPI(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		one := admit.Node{Allocatable: v1.ResourceList{v1.ResourcePods: resource.MustParse("1")}}
		c.set(func() { c.offer = one })
		p, q := assigned("a", "1"), assigned("b", "2")
		c.want(p, q)
		c.expectRunning("a")
		c.expectRejected("b", "b: OutOfpods")
		c.want(q)
		c.expectRunning()
		c.expectRejected("b")
		c.want(deletedIn(q, 0)) // its worker sees to the end of it
		c.expectRejected("")
		c.expectTold("b", "")
		c.want()
		c.expectTold("", "")
	})
}

// What the API says has ended is not started, and takes nobody's place.
func TestEndedInTheAPI(t *testing.T) {
	onCrew(t, func(_ context.Context, c *crew) {
		one := admit.Node{Allocatable: v1.ResourceList{v1.ResourcePods: resource.MustParse("1")}}
		c.set(func() { c.offer = one })
		p := assigned("a", "1")
		p.Status.Phase = v1.PodSucceeded
		c.want(p, assigned("b", "2"))
		c.expectRunning("b")
		c.expectRejected("")
	})
}
