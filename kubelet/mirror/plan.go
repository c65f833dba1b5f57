package mirror

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// A job is one mirror to put right: what to delete first, and what to create
// then. Either may be nil.
type job struct {
	key    pod.Key
	remove *v1.Pod
	create *v1.Pod
	lists  int // how often all mirrors had been told of by then
}

// plan returns the jobs that are due and not under way, and marks them as under
// way, and how long until the next one is due; 0 if only an event can bring one.
func (r *Reconciler) plan(now time.Time) (due []job, wake time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.tries, func(key pod.Key, _ *try) bool { return r.static[key] == nil && r.mirrors[key] == nil })
	keys := slices.Collect(maps.Keys(r.static))
	for key := range r.mirrors {
		if r.static[key] == nil {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		j, found := r.decide(key)
		if !found || r.busy[key] {
			continue
		}
		if t := r.tries[key]; t != nil && t.next.After(now) {
			if wait := t.next.Sub(now); wake == 0 || wait < wake {
				wake = wait
			}
			continue
		}
		r.busy[key], j.lists = true, r.lists
		due = append(due, j)
	}
	return due, wake
}

// decide compares the static pod of a key with its mirror.
func (r *Reconciler) decide(key pod.Key) (j job, found bool) {
	s, m := r.static[key], r.mirrors[key]
	switch {
	case s == nil && m == nil:
		return job{}, false
	case s == nil:
		return job{key: key, remove: m}, r.known && !slices.Contains(r.pending, m.Annotations[pod.ConfigSource])
	case r.nodeUID == "":
		return job{}, false // none can be made; an old one is better than none
	case m == nil:
		return job{key: key, create: picture(s, r.nodeUID)}, true
	case r.held[key] && m.DeletionTimestamp == nil && ownedBy(m, r.nodeUID):
		return job{}, false // it is the picture of what still runs
	case outdated(m, s, r.nodeUID):
		return job{key: key, remove: m, create: picture(s, r.nodeUID)}, true
	}
	return job{}, false
}

// outdated reports whether m is no mirror of s any longer (SP-52). Only the
// hash counts: what others edit in a mirror changes nothing (SP-54).
func outdated(m, s *v1.Pod, node types.UID) bool {
	return m.DeletionTimestamp != nil || m.Annotations[pod.ConfigMirror] != hash(s) || !ownedBy(m, node)
}

func ownedBy(m *v1.Pod, node types.UID) bool {
	return slices.ContainsFunc(m.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == node })
}

// picture returns the mirror of a static pod (SP-49), in the form that the
// admission plugin NodeRestriction lets a node create (SP-50).
func picture(s *v1.Pod, node types.UID) *v1.Pod {
	m := s.DeepCopy()
	m.UID, m.ResourceVersion = "", ""
	m.Annotations[pod.ConfigMirror] = hash(s)
	m.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "Node", Name: s.Spec.NodeName, UID: node, Controller: new(true),
	}}
	m.Status = v1.PodStatus{Phase: v1.PodPending}
	return m
}

// The wait between tries grows with how long it has failed: whatever the API
// was missing, a mirror comes at most a third later than it could.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = 10 * time.Second
)

// finish notes how a job ended and asks for another look.
func (r *Reconciler) finish(key pod.Key, err error) {
	r.mu.Lock()
	delete(r.busy, key)
	if err == nil {
		delete(r.tries, key)
	} else {
		r.failed(key, err)
	}
	r.mu.Unlock()
	r.Poke()
}

func (r *Reconciler) failed(key pod.Key, err error) {
	now := time.Now()
	t := r.tries[key]
	if t == nil {
		t = &try{since: now}
		r.tries[key] = t
	}
	wait := min(firstWait+now.Sub(t.since)/3, lastWait)
	t.next = now.Add(wait - rand.N(wait/4)) // so that nodes do not fall into step
	if t.last != err.Error() && !errors.Is(err, errMoved) {
		t.last = err.Error()
		r.o.Log.Warn("cannot mirror pod", slog.String("pod", key.String()), slog.Any("err", err))
	}
}
