package mirror

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"boot.internal/kubelet/pod"
)

// Store returns what hears of the pods of this node, from whoever watches them:
// one watch serves this and the source of the API's pods.
func (r *Reconciler) Store() cache.ReflectorStore { return store{r} }

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
	key := pod.KeyOf(p)
	s.r.mu.Lock()
	if s.r.busy[key] {
		s.r.dead[p.UID] = true // the answer that it was made may come yet
	} else {
		delete(s.r.dead, p.UID) // nothing more will be heard of it
	}
	s.r.drop(p)
	s.r.mu.Unlock()
	s.r.changed(key)
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
	r.lists++
	clear(r.tries)
	r.Poke()
	return changed
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }
