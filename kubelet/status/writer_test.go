package status_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

func TestWriterMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := staticPod("etcd")
		s := serve(t, status.WriterOptions{})

		s.set(etcd, v1.PodRunning)
		s.settle()
		time.Sleep(time.Hour)
		if n := s.requests(); n > 0 {
			t.Errorf("SP-55: %d requests without a mirror", n)
		}

		s.create(mirrorOf(etcd, "m1"))
		s.w.Poke()
		s.expect(etcd, v1.PodRunning) // the moment it appears
		if n := s.requests(); n != 1 {
			t.Errorf("%d requests", n)
		}

		s.set(etcd, v1.PodRunning)
		s.w.Poke()
		s.settle()
		time.Sleep(time.Hour)
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests for nothing new", n)
		}

		s.remove(etcd)
		s.create(mirrorOf(etcd, "m2"))
		s.w.Poke()
		s.expect(etcd, v1.PodRunning) // SP-53: a new mirror gets all of it

		s.w.Forget(etcd.UID)
		if _, known := s.w.Get(etcd.UID); known {
			t.Error("it is remembered")
		}
	})
}

func TestWriterForeignChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := staticPod("etcd")
		gate := v1.PodCondition{Type: "example.com/lb", Status: v1.ConditionTrue}
		m := mirrorOf(etcd, "m1")
		m.Status.Conditions = []v1.PodCondition{gate}
		m.Status.NominatedNodeName = "elsewhere"
		s := serve(t, status.WriterOptions{}, m)
		s.w.Set(etcd, v1.PodStatus{
			Phase:      v1.PodRunning,
			Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}},
		})
		s.expect(etcd, v1.PodRunning)

		foreign := s.get(etcd.Namespace, etcd.Name).DeepCopy()
		foreign.Status.Phase = v1.PodFailed
		if err := s.clients.Tracker().Update(podsResource, foreign, foreign.Namespace); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		s.expect(etcd, v1.PodRunning) // SP-55: overwritten

		held := s.get(etcd.Namespace, etcd.Name).Status
		if len(held.Conditions) != 2 || held.Conditions[0].Type != gate.Type || held.Conditions[1].Type != v1.PodReady {
			t.Errorf("conditions of others are not kept: %v", held.Conditions)
		}
		if held.NominatedNodeName == "" || held.QOSClass != v1.PodQOSBurstable {
			t.Errorf("fields of others are not kept: %+v", held)
		}
		s.requests()
		time.Sleep(time.Hour)
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests though nobody changed anything", n)
		}
	})
}

func TestWriterOutage(t *testing.T) {
	for _, longer := range []time.Duration{0, 13 * time.Second, 29 * time.Second, 41 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			etcd, other := staticPod("etcd"), staticPod("other")
			s := serve(t, status.WriterOptions{}, mirrorOf(etcd, "m1"), mirrorOf(other, "m2"))
			s.fail(errors.New("connection refused"))
			s.set(etcd, v1.PodPending)
			s.set(other, v1.PodRunning)
			s.settle()
			time.Sleep(30 * time.Minute)
			s.set(etcd, v1.PodFailed)
			time.Sleep(30*time.Minute + longer)
			s.set(etcd, v1.PodRunning)
			if n := s.requests(); n < 100 || n > 2000 {
				t.Errorf("%d requests in an hour's outage", n)
			}
			s.fail(nil)
			time.Sleep(5 * time.Second)
			s.expect(etcd, v1.PodRunning)
			s.expect(other, v1.PodRunning)
			if n := s.requests(); n != 2 {
				t.Errorf("%d requests, though only the latest status of two pods was to be sent", n)
			}
		})
	}
}

// Who knows that the API is back need not wait for the next try.
func TestWriterPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := staticPod("etcd")
		s := serve(t, status.WriterOptions{}, mirrorOf(etcd, "m1"))
		s.fail(errors.New("connection refused"))
		s.set(etcd, v1.PodRunning)
		time.Sleep(time.Hour + time.Second)
		s.fail(nil)
		s.w.Poke()
		s.expect(etcd, v1.PodRunning)
	})
}

// Sixty pods that change at once are all written at once, though not all at the
// same time.
func TestWriterMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, status.WriterOptions{})
		var pods []*v1.Pod
		for i := range 60 {
			p := staticPod(fmt.Sprint("pod-", i))
			s.create(mirrorOf(p, p.UID+"-mirror"))
			pods = append(pods, p)
			s.set(p, v1.PodRunning)
		}
		for _, p := range pods {
			s.expect(p, v1.PodRunning)
		}
		if n := s.requests(); n != len(pods) {
			t.Errorf("%d requests", n)
		}
	})
}

// A hole is an API server that swallows requests.
type hole struct{ requests chan struct{} }

func (h hole) Delete(ctx context.Context, _ pod.Key, _ types.UID) error {
	<-ctx.Done()
	return ctx.Err()
}

func (h hole) PatchStatus(ctx context.Context, _ pod.Key, _ []byte) (*v1.Pod, error) {
	h.requests <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestWriterNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := status.NewWriter(status.WriterOptions{Logger: slog.New(slog.DiscardHandler)})
		api := hole{requests: make(chan struct{}, 10_000)}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			w.Run(ctx, api)
			close(done)
		}()
		start := time.Now()
		for i := range 20 {
			p := &v1.Pod{}
			p.Name, p.UID = "p", types.UID(rune('a'+i))
			w.Set(p, v1.PodStatus{Phase: v1.PodRunning})
		}
		if time.Since(start) > 0 {
			t.Error("Set waited for the API")
		}
		synctest.Wait()
		if n := len(api.requests); n != 4 {
			t.Errorf("%d requests at a time", n)
		}
		time.Sleep(time.Minute)
		if n := len(api.requests); n < 20 {
			t.Errorf("%d requests in a minute: one pod holds up the others", n)
		}
		cancel()
		<-done // what is under way is abandoned
	})
}

func TestWriterRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := staticPod("etcd")
		s := serve(t, status.WriterOptions{}, mirrorOf(etcd, "m1"))
		s.fail(apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "etcd", nil))
		s.set(etcd, v1.PodFailed)
		s.settle()
		time.Sleep(time.Hour)
		if n := s.requests(); n != 1 {
			t.Errorf("%d requests with what was refused", n)
		}
		s.fail(nil)
		s.set(etcd, v1.PodRunning)
		s.expect(etcd, v1.PodRunning)
	})
}

// The mirror was deleted and made again, and that is not known here yet: the UID
// in the patch keeps the status of one pod from being written to another.
func TestWriterOtherObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
		s := serve(t, status.WriterOptions{}, mirrorOf(p, "2"))
		s.set(p, v1.PodFailed)
		time.Sleep(time.Minute)
		s.expect(p, v1.PodPending)

		s.remove(p)
		s.w.Poke()
		s.settle()
		s.requests()
		time.Sleep(time.Hour)
		if n := s.requests(); n > 1 {
			t.Errorf("%d requests about a pod that is not there", n)
		}
	})
}

func TestWriterAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		etcd := staticPod("etcd")
		since := metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
		m := mirrorOf(etcd, "m1")
		m.Status.Phase = v1.PodRunning
		m.Status.Conditions = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: since}}
		m.Status.ContainerStatuses = []v1.ContainerStatus{{
			Name: "etcd", ContainerID: "containerd://c1", Ready: true, Started: new(true),
			State: v1.ContainerState{Running: &v1.ContainerStateRunning{}},
		}}
		told := make(chan v1.PodStatus, 10)
		s := serve(t, status.WriterOptions{Adopt: func(_ *v1.Pod, held v1.PodStatus) { told <- held }}, m)

		unready := v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionFalse}}}
		s.w.Set(etcd, unready) // made before anybody knew
		s.settle()
		if n := s.requests(); n > 0 {
			t.Errorf("IC-26: %d requests before what the API holds was adopted", n)
		}
		if seeds := status.Seeds(<-told); seeds["c1"] != (pod.Verdict{Started: true, Ready: true}) {
			t.Errorf("seeds %v", seeds)
		}
		s.w.Set(etcd, unready) // was being made meanwhile
		s.settle()
		if n := s.requests(); n > 0 {
			t.Errorf("IC-26: %d requests with a status made without knowledge", n)
		}

		prev, known := s.w.Get(etcd.UID)
		if !known || prev.Conditions[0].LastTransitionTime != since {
			t.Fatalf("it was not adopted: %v %v", known, prev)
		}
		prev.Phase = v1.PodFailed
		s.w.Set(etcd, prev)
		s.expect(etcd, v1.PodFailed)
		if len(told) > 0 {
			t.Error("it was told twice")
		}
	})
}

func TestWriterSpeaksOfAPIPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "1"}}
		s := serve(t, status.WriterOptions{}, p)
		s.set(p, v1.PodRunning)
		s.expect(p, v1.PodRunning)
		if got, _ := s.w.Get("1"); got.Phase != v1.PodRunning {
			t.Errorf("got %v", got)
		}
	})
}
