package kubelet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/volume"
)

// A refresher has the files in volumes of running pods follow what they show.
// Whoever learns of a change pokes; one goroutine sees to it.
type refresher struct {
	// refresh brings the volumes of a pod up to date.
	refresh func(ctx context.Context, p *v1.Pod) error
	// failed is told of a pod whose volumes could not follow.
	failed func(p *v1.Pod, err error)
	wake   chan struct{} // capacity 1: many pokes before a look are one

	mu    sync.Mutex // guards what follows
	pods  map[types.UID]*v1.Pod
	due   map[types.UID]bool
	again map[types.UID]*time.Timer // of those that failed
}

// refreshesAtOnce is how many pods are refreshed at a time: some wait for the
// API server.
const refreshesAtOnce = 4

// refreshAgain is after how long a refresh that failed is tried again where
// nobody can tell that it would go well now. It is upstream's longest pause.
const refreshAgain = 2 * time.Minute

func newRefresher(refresh func(context.Context, *v1.Pod) error, failed func(*v1.Pod, error)) *refresher {
	return &refresher{
		refresh: refresh, failed: failed, wake: make(chan struct{}, 1),
		pods: map[types.UID]*v1.Pod{}, due: map[types.UID]bool{}, again: map[types.UID]*time.Timer{},
	}
}

// setPods replaces the pods with volumes to keep. Those that are new may have
// volumes from before, and those that changed show it.
func (r *refresher) setPods(pods []*v1.Pod) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.pods
	r.pods = make(map[types.UID]*v1.Pod, len(pods))
	for _, p := range pods {
		if !volume.Live(p) {
			continue
		}
		r.pods[p.UID] = p
		if was := old[p.UID]; was == nil || !same(was, p) {
			r.note(p.UID)
		}
	}
	for uid := range r.again {
		if r.pods[uid] == nil {
			r.calm(uid)
		}
	}
}

// calm calls off another try. It is called with the lock held.
func (r *refresher) calm(uid types.UID) {
	if t := r.again[uid]; t != nil {
		t.Stop()
		delete(r.again, uid)
	}
}

// poke has the volumes of a pod refreshed soon. It never blocks.
func (r *refresher) poke(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(uid)
}

// pokeAll has the volumes of all pods refreshed that it is for, and returns
// those.
func (r *refresher) pokeAll(concerns func(*v1.Pod) bool) []*v1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	var poked []*v1.Pod
	for uid, p := range r.pods {
		if concerns(p) {
			r.note(uid)
			poked = append(poked, p)
		}
	}
	return poked
}

// note is called with the lock held.
func (r *refresher) note(uid types.UID) {
	if r.pods[uid] == nil {
		return
	}
	r.due[uid] = true
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run refreshes until ctx ends.
func (r *refresher) run(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	slots := make(chan struct{}, refreshesAtOnce)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		for _, p := range r.take() {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			jobs.Go(func() {
				defer func() { <-slots }()
				r.one(ctx, p)
			})
		}
	}
}

func (r *refresher) take() []*v1.Pod {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*v1.Pod
	for uid := range r.due {
		if p := r.pods[uid]; p != nil {
			all = append(all, p)
		}
	}
	clear(r.due)
	return all
}

func (r *refresher) one(ctx context.Context, p *v1.Pod) {
	err := r.refresh(ctx, p)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.failed(p, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calm(p.UID)
	if err != nil && r.pods[p.UID] != nil {
		r.again[p.UID] = time.AfterFunc(refreshAgain, func() { r.poke(p.UID) })
	}
}

// refreshFailed tells of volumes that keep what they have, in upstream's way.
func (k *kubelet) refreshFailed(p *v1.Pod, err error) {
	k.events.ofPod(p, v1.EventTypeWarning, "FailedMount", err.Error())
	k.o.Logger.LogAttrs(context.Background(), slog.LevelDebug, "volumes keep what they have", slog.String("uid", string(p.UID)))
}
