package object

import (
	"context"
	"maps"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"boot.internal/kubelet/pod"
)

// An object is a Secret or a ConfigMap.
type object interface {
	runtime.Object
	metav1.Object
}

// An entry is what is known of one object, guarded by the Store's lock.
//
//	new ──► refused ──► known: there, or not there ──► … until no pod names it
//	 └─────────────────────┘
type entry struct {
	ref   ref
	users map[types.UID]pod.Key
	stop  context.CancelFunc // of what follows it; nil before something does

	// answered is closed once there is something to return: the API server has
	// said what there is, or keeps refusing to.
	answered chan struct{}
	known    bool
	missed   bool   // somebody went away without an answer
	object   object // nil: there is none
	err      error  // without an object: why; also why nothing is known yet

	holds int // how often a pod came to use it
	fresh int // how many of those the last look at the API server followed
	// reading has capacity 1: one looks at the API server for all.
	reading chan struct{}
}

func newEntry(r ref) *entry {
	return &entry{
		ref: r, users: map[types.UID]pod.Key{},
		answered: make(chan struct{}), reading: make(chan struct{}, 1),
	}
}

// answer lets go those who wait.
func (e *entry) answer() {
	select {
	case <-e.answered:
	default:
		close(e.answered)
	}
}

// older reports whether what is held is newer than the version.
func (e *entry) older(version string) bool {
	if e.object == nil {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(version, e.object.GetResourceVersion())
	return err == nil && order < 0
}

// differs reports whether o is another object than the one that is held, or
// another version of it.
func (e *entry) differs(o object) bool {
	if o == nil || e.object == nil {
		return o != nil || e.object != nil
	}
	return o.GetResourceVersion() != e.object.GetResourceVersion() || o.GetUID() != e.object.GetUID()
}

// set notes what the API server says: the object, or nil with the error that
// says so. News that is older than what is held is none.
func (s *Store) set(e *entry, o object, missing error) {
	s.mu.Lock()
	if o != nil && e.older(o.GetResourceVersion()) {
		s.mu.Unlock()
		return
	}
	news := e.missed
	if e.known {
		news = e.differs(o)
	}
	e.known, e.object, e.err = true, o, missing
	if o != nil {
		strip(o)
		e.err = nil
	}
	e.answer()
	users := map[types.UID]pod.Key{}
	if news {
		users = maps.Clone(e.users)
	}
	s.mu.Unlock()
	for uid, key := range users {
		s.o.Changed(key, uid)
	}
}

// strip drops what no pod gets to see and would only take up memory.
func strip(o object) {
	o.SetManagedFields(nil)
	o.SetAnnotations(nil)
	o.SetLabels(nil)
	o.SetOwnerReferences(nil)
	o.SetFinalizers(nil)
}

func immutable(o object) bool {
	switch o := o.(type) {
	case *v1.Secret:
		return o.Immutable != nil && *o.Immutable
	case *v1.ConfigMap:
		return o.Immutable != nil && *o.Immutable
	}
	return false
}
