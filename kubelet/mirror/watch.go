package mirror

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"boot.internal/kubelet/pod"
)

// watch follows the pods of this node until ctx ends: one watch, for mirrors
// alone.
func (r *Reconciler) watch(ctx context.Context, client corev1.PodsGetter) {
	mine := fields.OneTermEqualSelector("spec.nodeName", r.o.Node).String()
	pods := client.Pods(metav1.NamespaceAll)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = mine
			list, err := pods.List(ctx, o)
			r.listed(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = mine
			return pods.Watch(ctx, o)
		},
	}
	cache.NewReflectorWithOptions(plainList{lw}, &v1.Pod{}, store{r},
		cache.ReflectorOptions{Name: "mirrors", Backoff: &wait.Backoff{
			// Shorter than client-go's: an API server that just came up should not be kept waiting.
			Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.5, Steps: 12, Cap: 10 * time.Second,
		}}).RunWithContext(klog.NewContext(ctx, logr.Discard())) // listed says what is worth saying
}

// listed logs each distinct reason for which mirrors cannot be listed once.
func (r *Reconciler) listed(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	r.mu.Lock()
	news := text != r.listErr
	r.listErr = text
	r.mu.Unlock()
	if news && err != nil {
		r.o.Log.Warn("cannot list mirrors", slog.Any("err", err))
	}
}

// A plainList is listed by an ordinary list: it is short, and streaming it
// would make boot wait for a bookmark.
type plainList struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how client-go asks.
func (plainList) IsWatchListSemanticsUnSupported() bool { return true }

// A store is what client-go's reflector writes pods to. It keeps only mirrors.
type store struct{ r *Reconciler }

// Add takes a pod that is new.
func (s store) Add(obj any) error { return s.Update(obj) }

// Update takes a pod that changed.
func (s store) Update(obj any) error {
	if p, ok := obj.(*v1.Pod); ok && pod.IsMirror(p) {
		s.r.seen(p)
	}
	return nil
}

// Delete takes a pod that is gone.
func (s store) Delete(obj any) error {
	p, ok := obj.(*v1.Pod)
	if !ok || !pod.IsMirror(p) {
		return nil
	}
	s.r.mu.Lock()
	delete(s.r.dead, p.UID) // nothing more will be heard of it
	s.r.drop(p)
	s.r.mu.Unlock()
	s.r.changed(pod.KeyOf(p))
	return nil
}

// Replace takes everything there is: the API answers, so whatever failed is
// worth another try at once.
func (s store) Replace(list []any, _ string) error {
	fresh := map[pod.Key]*v1.Pod{}
	listed := map[types.UID]bool{}
	for _, obj := range list {
		if p, ok := obj.(*v1.Pod); ok && pod.IsMirror(p) {
			listed[p.UID] = true
			fresh[pod.KeyOf(p)] = stripped(p)
		}
	}
	for _, key := range s.r.replace(fresh, listed) {
		s.r.changed(key)
	}
	return nil
}

// replace swaps the mirrors and returns the keys that are others now.
func (r *Reconciler) replace(fresh map[pod.Key]*v1.Pod, listed map[types.UID]bool) []pod.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	for uid := range r.dead {
		if !listed[uid] {
			delete(r.dead, uid)
		}
	}
	var changed []pod.Key
	for key, m := range fresh {
		if r.dead[m.UID] { // a list may be older than what was done here
			delete(fresh, key)
			continue
		}
		if old := r.mirrors[key]; old == nil || old.ResourceVersion != m.ResourceVersion {
			changed = append(changed, key)
		}
	}
	for key := range r.mirrors {
		if fresh[key] == nil {
			changed = append(changed, key)
		}
	}
	r.mirrors = fresh
	clear(r.tries)
	r.Poke()
	return changed
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }
