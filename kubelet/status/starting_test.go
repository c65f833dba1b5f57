package status_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/status"
)

// A pod that starts within a second is told of once; one that does not is told of
// after that second, however much happens in it, and next after three.
func TestWriterStarting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, slow := staticPod("quick"), staticPod("slow")
		s := serve(t, status.WriterOptions{}, mirrorOf(quick, "m1"), mirrorOf(slow, "m2"))
		for i := range 9 {
			for _, p := range []*v1.Pod{quick, slow} {
				s.w.Set(p, startingStatus(i))
			}
			s.w.Poke() // news of mirrors does not hurry it
			time.Sleep(100 * time.Millisecond)
		}
		s.set(quick, v1.PodRunning)
		s.expect(quick, v1.PodRunning)
		if n := s.requests(); n != 1 {
			t.Errorf("%d requests for one pod that runs and one that starts", n)
		}
		time.Sleep(150 * time.Millisecond)
		synctest.Wait()
		if n, got := s.requests(), s.get(slow.Namespace, slow.Name); n != 1 || len(got.Status.Conditions) != 1 {
			t.Errorf("%d requests after a second, the API holds %+v", n, got.Status)
		}
		time.Sleep(time.Hour)
		s.w.Set(slow, startingStatus(1))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests for the next such news", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := s.requests(); n != 1 {
			t.Errorf("%d requests, late, for the next such news", n)
		}
	})
}

// While others wait to be started, a pod that starts is told of once that is over, or
// after ten seconds.
func TestWriterStartingInARush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := staticPod("first"), staticPod("second")
		rush := make(chan struct{})
		now := atomic.Pointer[chan struct{}]{}
		now.Store(&rush)
		s := serve(t, status.WriterOptions{Rush: func() <-chan struct{} { return *now.Load() }}, mirrorOf(first, "m1"), mirrorOf(second, "m2"))
		s.w.Set(first, startingStatus(1))
		time.Sleep(6 * time.Second)
		s.w.Set(second, startingStatus(1))
		synctest.Wait()
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests while others wait", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n, got := s.requests(), s.get(first.Namespace, first.Name); n != 1 || len(got.Status.Conditions) != 1 {
			t.Errorf("%d requests after eleven seconds, the API holds %+v", n, got.Status)
		}
		now.Store(new(chan struct{}))
		close(rush)
		synctest.Wait()
		if n, got := s.requests(), s.get(second.Namespace, second.Name); n != 1 || len(got.Status.Conditions) != 1 {
			t.Errorf("%d requests when nobody waits any more, the API holds %+v", n, got.Status)
		}
	})
}

// startingStatus is one of a pod that is on its way, never the same.
func startingStatus(i int) v1.PodStatus {
	return v1.PodStatus{
		Phase:      v1.PodPending,
		Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionFalse, ObservedGeneration: int64(i)}},
		ContainerStatuses: []v1.ContainerStatus{{
			Name: "c", State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}},
	}
}

// What else there is to tell of a pod that is not running yet is told at once.
func TestWriterNotOnlyStarting(t *testing.T) {
	change := map[string]func(*v1.Pod, *v1.PodStatus){
		"image is not pulled": func(_ *v1.Pod, s *v1.PodStatus) {
			s.ContainerStatuses[0].State.Waiting.Reason = "ErrImagePull"
		},
		"why it waits": func(_ *v1.Pod, s *v1.PodStatus) {
			s.ContainerStatuses[0].State.Waiting.Message = "no space left"
		},
		"init container ended": func(_ *v1.Pod, s *v1.PodStatus) {
			s.InitContainerStatuses = []v1.ContainerStatus{{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{}}}}
		},
		"restarted":  func(_ *v1.Pod, s *v1.PodStatus) { s.ContainerStatuses[0].RestartCount = 1 },
		"reason":     func(_ *v1.Pod, s *v1.PodStatus) { s.Reason = "Evicted" },
		"message":    func(_ *v1.Pod, s *v1.PodStatus) { s.Message = "the node is short of it" },
		"disruption": func(_ *v1.Pod, s *v1.PodStatus) { s.Conditions[0].Type = v1.DisruptionTarget },
		"deletion":   func(p *v1.Pod, _ *v1.PodStatus) { p.DeletionTimestamp = new(metav1.Now()) },
	}
	for name, change := range change {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, now := staticPod("etcd"), startingStatus(1)
				s := serve(t, status.WriterOptions{}, mirrorOf(p, "m1"))
				change(p, &now)
				s.w.Set(p, now)
				synctest.Wait()
				if n := s.requests(); n != 1 {
					t.Errorf("%d requests at once", n)
				}
			})
		})
	}
}
