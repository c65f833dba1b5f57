package kubelet

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// refreshes counts what a refresher does.
type refreshes struct {
	*refresher
	mu     sync.Mutex
	done   map[string]int // by pod
	failed int
	err    error
}

// newRefreshes returns a refresher that runs, in the test's bubble.
func newRefreshes(t *testing.T) *refreshes {
	r := &refreshes{done: map[string]int{}}
	r.refresher = newRefresher(
		func(_ context.Context, p *v1.Pod) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.done[p.Name]++
			return r.err
		},
		func(*v1.Pod, error) { r.mu.Lock(); r.failed++; r.mu.Unlock() },
	)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// expect waits until nothing is left to do and compares how often pods were
// refreshed since the last call.
func (r *refreshes) expect(t *testing.T, what string, want map[string]int) {
	t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, maps.Clone(r.done)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	clear(r.done)
}

func livePod(name, label string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"l": label}},
		Spec: v1.PodSpec{Volumes: []v1.Volume{
			{Name: "v", VolumeSource: v1.VolumeSource{DownwardAPI: &v1.DownwardAPIVolumeSource{}}},
		}},
	}
}

func TestRefresherFollowsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefreshes(t)
		bare := livePod("bare", "x")
		bare.Spec.Volumes = nil
		r.setPods([]*v1.Pod{livePod("a", "x"), livePod("b", "x"), bare})
		r.expect(t, "new pods may have volumes from before", map[string]int{"a": 1, "b": 1})
		r.setPods([]*v1.Pod{livePod("a", "x"), livePod("b", "y")})
		r.expect(t, "one changed", map[string]int{"b": 1})
		r.poke("a")
		r.poke("gone")
		r.expect(t, "one was poked", map[string]int{"a": 1})
		r.pokeAll(func(p *v1.Pod) bool { return p.Name == "b" })
		r.expect(t, "some were poked", map[string]int{"b": 1})
	})
}

func TestRefresherTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRefreshes(t)
		r.err = errors.New("no space left on device")
		r.setPods([]*v1.Pod{livePod("a", "x")})
		r.expect(t, "at once", map[string]int{"a": 1})
		r.poke("a")
		r.expect(t, "poked", map[string]int{"a": 1})
		time.Sleep(refreshAgain)
		r.expect(t, "later, once for both", map[string]int{"a": 1})
		if r.failed != 3 {
			t.Errorf("told of %d failures", r.failed)
		}
		r.mu.Lock()
		r.err = nil
		r.mu.Unlock()
		time.Sleep(refreshAgain)
		r.expect(t, "well", map[string]int{"a": 1})
		time.Sleep(time.Hour)
		r.expect(t, "then no more", map[string]int{})
	})
}
