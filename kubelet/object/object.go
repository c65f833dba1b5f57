// Package object knows the Secrets and ConfigMaps that pods of this node use.
//
// It decides how long each is watched: one by one, from the moment the first
// pod that names it is held until the last one is let go, and never again once
// it turns out to be immutable. It decides how fresh a value is: while the API
// server answers, a pod sees an object at least as new as when the pod was
// held; while it does not, what was heard last has to do. And it tells of whom
// a change concerns. What an object is good for, and what becomes of a pod that
// misses one, is left to those who ask.
//
// Of static pods it takes no notice: they may not name objects of the API,
// whose server may be one of them.
package object

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/kubelet/pod"
)

// A Client is the part of the API that a Store reads.
type Client interface {
	corev1.SecretsGetter
	corev1.ConfigMapsGetter
}

// Options say whom to tell and how patient to be.
type Options struct {
	// Changed is called for each pod that uses an object when the object came,
	// changed or went, and when it is known at last for which somebody did not
	// wait long enough. It is called without any lock held and must not block.
	// May be nil.
	Changed func(key pod.Key, uid types.UID)
	// Wait is how long Secret and ConfigMap wait at most for an object that has
	// never been heard of, within the context of the call; 0 is 10 s.
	Wait time.Duration
	Log  *slog.Logger
}

// A Store holds the objects that pods use. Its methods may be called from any
// goroutine.
type Store struct {
	o    Options
	poke chan struct{} // capacity 1: many pokes before a look are one

	mu      sync.Mutex // guards all below, and the entries
	client  Client     // nil before there is an API server
	entries map[ref]*entry
	pods    map[types.UID]holder
}

// A holder is a pod with what it names.
type holder struct {
	pod  *v1.Pod // to see that it is another version
	refs map[ref]bool
}

// New returns a Store that knows nothing before Run.
func New(o Options) *Store {
	if o.Wait == 0 {
		o.Wait = 10 * time.Second
	}
	if o.Changed == nil {
		o.Changed = func(pod.Key, types.UID) {}
	}
	return &Store{
		o: o, poke: make(chan struct{}, 1),
		entries: map[ref]*entry{}, pods: map[types.UID]holder{},
	}
}

// Run follows what the pods name through client until ctx ends. It is called
// once.
func (s *Store) Run(ctx context.Context, client Client) {
	s.mu.Lock()
	s.client = client
	s.mu.Unlock()
	var followers sync.WaitGroup
	defer followers.Wait()
	for {
		for _, e := range s.unfollowed() {
			own, stop := context.WithCancel(ctx)
			if s.setStop(e, stop) {
				followers.Go(func() { defer stop(); s.follow(own, e) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.poke:
		}
	}
}

// SetPods replaces the pods whose objects are to be known: all that may run or
// still end on this node. They are not changed. It never waits.
func (s *Store) SetPods(pods []*v1.Pod) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here := make(map[types.UID]bool, len(pods))
	for _, p := range pods {
		if !pod.IsStatic(p) {
			here[p.UID] = true
			s.hold(p)
		}
	}
	for uid, h := range s.pods {
		if !here[uid] {
			s.release(uid, h.refs)
			delete(s.pods, uid)
		}
	}
}

// hold notes what p names. Another version of a pod may name more, as with an
// ephemeral container.
func (s *Store) hold(p *v1.Pod) {
	old := s.pods[p.UID]
	if old.pod == p {
		return
	}
	refs := refsOf(p)
	s.pods[p.UID] = holder{p, refs}
	for r := range refs {
		if old.refs[r] {
			delete(old.refs, r)
			continue
		}
		e := s.entries[r]
		if e == nil {
			e = newEntry(r)
			s.entries[r] = e
			s.wake()
		}
		e.users[p.UID] = pod.KeyOf(p)
		e.holds++
	}
	s.release(p.UID, old.refs)
}

// release lets go of what the pod does not name any more, and forgets what no
// pod names.
func (s *Store) release(uid types.UID, refs map[ref]bool) {
	for r := range refs {
		e := s.entries[r]
		delete(e.users, uid)
		if len(e.users) > 0 {
			continue
		}
		delete(s.entries, r)
		if e.stop != nil {
			e.stop()
		}
	}
}

func (s *Store) wake() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// unfollowed returns the entries that nothing follows yet.
func (s *Store) unfollowed() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*entry
	for _, e := range s.entries {
		if e.stop == nil {
			all = append(all, e)
		}
	}
	return all
}

// setStop notes how to end what is about to follow e, unless nothing is to
// follow it any more.
func (s *Store) setStop(e *entry, stop context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries[e.ref] != e {
		stop()
		return false
	}
	e.stop = stop
	return true
}
