package status_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// apiPod returns a version of a pod of the API.
func apiPod(version int) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: "web", UID: "1", ResourceVersion: strconv.Itoa(version),
		Annotations: map[string]string{pod.ConfigSource: pod.SourceAPI},
	}}
}

func deleted(p *v1.Pod) *v1.Pod {
	p.DeletionTimestamp, p.Finalizers = new(metav1.Now()), []string{"x"}
	return p
}

// What the API holds of a pod stands until a status is set (IC-26).
func TestSeeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apiPod(1)
		p.Status.Phase = v1.PodRunning
		s := serve(t, status.WriterOptions{}, p)
		if !s.w.See(p) || s.w.See(p) {
			t.Error("it is new once")
		}
		if got, known := s.w.Get("1"); !known || got.Phase != v1.PodRunning {
			t.Errorf("got %v, %v", got, known)
		}
		s.settle()
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests", n)
		}
		s.set(p, v1.PodRunning)
		s.settle()
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests for what is held already", n)
		}
	})
}

// What others write into the kubelet's part is put right; an older version is no
// news.
func TestSeeForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apiPod(5)
		s := serve(t, status.WriterOptions{}, p)
		s.w.See(p)
		s.set(p, v1.PodRunning)
		s.expect(p, v1.PodRunning)
		s.requests()

		old := apiPod(4)
		old.Status.Phase = v1.PodPending
		s.w.See(old)
		s.settle()
		if n := s.requests(); n > 0 {
			t.Errorf("%d requests after old news", n)
		}

		vandal := apiPod(9)
		vandal.Status.Phase = v1.PodPending
		s.remove(p)
		s.create(vandal)
		s.w.See(vandal)
		s.expect(p, v1.PodRunning)
	})
}

// A pod goes from the API once it was asked to, has ended, and that was told.
func TestBury(t *testing.T) {
	for name, c := range map[string]struct {
		deleted, said, released bool
		gone                    bool
	}{
		"all":          {true, true, true, true},
		"not asked":    {false, true, true, false},
		"not told":     {true, false, true, false},
		"not released": {true, true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := apiPod(1)
				if c.deleted {
					deleted(p)
				}
				s := serve(t, status.WriterOptions{}, p)
				s.w.See(p)
				if c.said {
					s.set(p, v1.PodFailed)
				}
				if c.released {
					s.w.Release(p)
				}
				time.Sleep(time.Minute)
				s.settle()
				deletes := 0
				for _, a := range s.clients.Actions() {
					if a.GetVerb() == "delete" {
						deletes++
					}
				}
				if want := map[bool]int{true: 1}[c.gone]; deletes != want {
					t.Errorf("%d deletions, want %d", deletes, want)
				}
				if c.said {
					if m := s.get("default", "web"); m != nil && m.Status.Phase != v1.PodFailed {
						t.Errorf("it went as %s", m.Status.Phase)
					}
				}
			})
		})
	}
}

// The deletion may be asked for after the pod has ended.
func TestBuryLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apiPod(1)
		s := serve(t, status.WriterOptions{}, p)
		s.w.See(p)
		s.set(p, v1.PodSucceeded)
		s.w.Release(p)
		s.settle()
		if s.get("default", "web") == nil {
			t.Fatal("it is gone, though nobody asked for that")
		}
		s.w.See(deleted(apiPod(2)))
		s.settle()
		if s.get("default", "web") != nil {
			t.Error("it is there")
		}
	})
}

// The pod of this name may be another one by now.
func TestBuryOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := deleted(apiPod(1))
		s := serve(t, status.WriterOptions{}, p)
		s.w.See(p)
		s.set(p, v1.PodFailed)
		s.settle()
		s.remove(p)
		other := apiPod(7)
		other.UID = types.UID("2")
		s.create(other)
		s.w.Release(p)
		time.Sleep(time.Minute)
		if s.get("default", "web") == nil {
			t.Error("another pod was deleted")
		}
	})
}
