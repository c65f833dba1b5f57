// Package mirror keeps the API's picture of static pods: every static pod has
// exactly its mirror, and no mirror is without its static pod.
//
// It decides what has to be created and deleted in the API, and when. It is
// level-triggered: what is wanted and what is there are compared whenever
// either may have changed, and nothing in the life of a pod waits for it or
// for the API server. The status of mirrors is left to the status writer, and
// which pods there are to the sources.
package mirror

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/kubelet/pod"
)

// Options say whose mirrors to keep.
type Options struct {
	Node string // name of this node
	// OnChange is called, without any lock held, when the mirror of a key came,
	// changed or went. It must not block. May be nil.
	OnChange func(key pod.Key)
	Log      *slog.Logger
}

// A Reconciler makes mirrors match static pods. Its methods may be called from
// any goroutine and never wait for the API.
type Reconciler struct {
	o    Options
	poke chan struct{} // capacity 1: many pokes before a look are one

	mu      sync.Mutex // guards all below
	static  map[pod.Key]*v1.Pod
	known   bool     // static was set: only then is a mirror an orphan
	pending []string // sources whose mirrors are no orphans yet
	nodeUID types.UID
	mirrors map[pod.Key]*v1.Pod // as the API has them; shared and never changed
	// dead holds mirrors that are gone but that may still be spoken of: by the
	// watch, if they were deleted here, or by the answer to a request under way.
	dead  map[types.UID]bool
	lists int // how often all mirrors were told of
	tries map[pod.Key]*try
	busy  map[pod.Key]bool // a request is under way
	held  map[pod.Key]bool // the mirror is that of a version before, which may still run
}

// A try is what is remembered of requests for one key that failed.
type try struct {
	since time.Time // the first failure
	next  time.Time
	last  string // so that each distinct error is logged once
}

// New returns a Reconciler that does nothing before Run.
func New(o Options) *Reconciler {
	if o.OnChange == nil {
		o.OnChange = func(pod.Key) {}
	}
	return &Reconciler{
		o: o, poke: make(chan struct{}, 1),
		static: map[pod.Key]*v1.Pod{}, mirrors: map[pod.Key]*v1.Pod{}, dead: map[types.UID]bool{},
		tries: map[pod.Key]*try{}, busy: map[pod.Key]bool{}, held: map[pod.Key]bool{},
	}
}

// SetStatic replaces the static pods that are to have mirrors: those desired,
// and those still terminating (SP-56). Of two with the same key the first
// counts. Mirrors of the pending sources, which have not synced yet, are left
// alone. API pods among them are skipped. Where a pod takes the place of another,
// the mirror stays that of the other until Succeeded.
func (r *Reconciler) SetStatic(pods []*v1.Pod, pending ...string) {
	static := map[pod.Key]*v1.Pod{}
	for _, p := range pods {
		if key := pod.KeyOf(p); pod.IsStatic(p) && static[key] == nil {
			static[key] = p
		}
	}
	r.mu.Lock()
	for key, p := range static {
		if old := r.static[key]; old == nil || hash(old) != hash(p) {
			delete(r.tries, key) // another pod, another chance
			r.held[key] = old != nil
		}
	}
	maps.DeleteFunc(r.held, func(key pod.Key, held bool) bool { return !held || static[key] == nil })
	r.static, r.known, r.pending = static, true, slices.Clone(pending)
	r.mu.Unlock()
	r.Poke()
}

// Succeeded says that nothing runs any more of a pod whose place this one has
// taken, so that the mirror may be of this one.
func (r *Reconciler) Succeeded(p *v1.Pod) {
	key := pod.KeyOf(p)
	r.mu.Lock()
	now := r.static[key]
	freed := r.held[key] && now != nil && hash(now) == hash(p)
	if freed {
		delete(r.held, key)
	}
	r.mu.Unlock()
	if freed {
		r.Poke()
	}
}

// SetNode says which Node object mirrors belong to. Without one, or with one
// that is being deleted, none are created (SP-49).
func (r *Reconciler) SetNode(n *v1.Node) {
	var uid types.UID
	if n != nil && n.DeletionTimestamp == nil {
		uid = n.UID
	}
	r.mu.Lock()
	changed := r.nodeUID != uid
	if changed {
		r.nodeUID = uid
		clear(r.tries) // the API answers, and what it refused it may now allow
	}
	r.mu.Unlock()
	if changed {
		r.Poke()
	}
}

// Poke asks for a look. It never blocks.
func (r *Reconciler) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// UIDFor returns the UID under which the API knows a static pod. Without a
// mirror of this very pod there is none.
func (r *Reconciler) UIDFor(p *v1.Pod) (types.UID, bool) {
	m, ok := r.Pod(pod.KeyOf(p))
	if !ok || m.DeletionTimestamp != nil || m.Annotations[pod.ConfigMirror] != hash(p) {
		return "", false
	}
	return m.UID, true
}

// Pod returns the mirror of a key as the API has it. It is shared and must not
// be changed.
func (r *Reconciler) Pod(key pod.Key) (*v1.Pod, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.mirrors[key]
	return m, ok
}

// Len returns how many mirrors there are.
func (r *Reconciler) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mirrors)
}

// hash is the version of a static pod that its mirror carries.
func hash(p *v1.Pod) string { return p.Annotations[pod.ConfigHash] }

// atOnce is how many requests there are at most at a time.
const atOnce = 8

// Run keeps mirrors through client until ctx ends. It is called once; until
// there is a client, everything else works without it. What mirrors there are it
// hears through Store.
func (r *Reconciler) Run(ctx context.Context, client corev1.PodsGetter) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	slots := make(chan struct{}, atOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.poke:
		case <-timer.C:
		}
		due, wake := r.plan(time.Now())
		for _, j := range due {
			jobs.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				r.finish(j.key, r.do(ctx, client, j))
			})
		}
		if wake > 0 {
			timer.Reset(wake)
		}
	}
}
