package csi

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// every returns the object of a driver that wants to be asked that often.
func every(name string, seconds int64) *storagev1.CSIDriver {
	d := &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if seconds > 0 {
		d.Spec.NodeAllocatableUpdatePeriodSeconds = &seconds
	}
	return d
}

// Each driver is asked that is here and wants to be, as often as it wants.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := make(chan string, 100)
		s := newSchedule(func(_ context.Context, driver string) { asked <- driver })
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		want := func(what string, times map[string]int) {
			t.Helper()
			synctest.Wait() // what was changed is known
			time.Sleep(time.Minute)
			synctest.Wait()
			got := map[string]int{}
			for len(asked) > 0 {
				got[<-asked]++
			}
			if diff := cmp.Diff(times, got); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
		}
		must(s.Replace([]any{every("a", 10), every("b", 30), every("never", 0)}, "1"))
		want("none is here", map[string]int{})
		s.set("a", true)
		s.set("never", true)
		want("one is here", map[string]int{"a": 6})
		s.set("b", true)
		must(s.Update(every("a", 20)))
		want("another, and a new period", map[string]int{"a": 3, "b": 2})
		must(s.Delete(every("a", 20)))
		s.set("b", false)
		must(s.Add(every("never", 60)))
		want("an object and a driver are gone", map[string]int{"never": 1})
		must(s.Replace(nil, "2"))
		want("all objects are gone", map[string]int{})
		cancel()
		<-done
	})
}

// A driver that does not answer holds up no other, and is not asked twice.
func TestScheduleWithOneThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		asked := map[string]int{}
		s := newSchedule(func(ctx context.Context, driver string) {
			if driver == "hangs" {
				asked["hangs"]++ // by one goroutine alone, and read when that has ended
				<-ctx.Done()
			}
		})
		done := make(chan struct{})
		go func() { defer close(done); s.run(ctx) }()
		_ = s.Replace([]any{every("hangs", 1), every("other", 1)}, "1")
		s.set("hangs", true)
		s.set("other", true)
		time.Sleep(time.Minute)
		cancel()
		<-done
		if asked["hangs"] != 1 {
			t.Errorf("asked %d times", asked["hangs"])
		}
	})
}
