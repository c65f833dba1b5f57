package source

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// A Merge joins the snapshots of several origins into one desired set. It is
// owned by one goroutine.
type Merge struct {
	order  []string
	latest map[string]Snapshot
}

// NewMerge returns a Merge of the given origins. Where two of them want the
// same pod, the one named first here wins.
func NewMerge(origins ...string) *Merge {
	return &Merge{order: origins, latest: map[string]Snapshot{}}
}

// Put replaces what an origin wants. A snapshot of an origin that was not named
// is dropped.
func (m *Merge) Put(s Snapshot) { m.latest[s.Origin] = s }

// Synced reports whether the origin has sent a whole snapshot. Each origin
// alone decides about its own pods (SP-45): until it has synced, what runs in
// its name must be left alone.
func (m *Merge) Synced(origin string) bool {
	s, ok := m.latest[origin]
	return ok && !s.Partial
}

// Desired returns all pods wanted now, one for each key and UID, and all
// problems. Mirrors are pictures of pods and never wanted themselves (SP-58).
func (m *Merge) Desired() ([]*v1.Pod, []Problem) {
	d := newDistinct()
	var problems []Problem
	for _, origin := range m.order {
		s := m.latest[origin]
		problems = append(problems, s.Problems...)
		for _, p := range s.Pods {
			if origin == pod.SourceAPI && pod.IsMirror(p) {
				continue
			}
			if other, ok := d.add(p, origin); !ok {
				problems = append(problems, Problem{
					Path: origin, Pod: pod.KeyOf(p), Reason: Duplicate,
					Message: fmt.Sprintf("pod %s is already defined by %s, which wins", pod.KeyOf(p), other),
				})
			}
		}
	}
	return d.pods, problems
}

// A distinct set of pods has each key and each UID once: whoever comes first
// stays (SP-19).
type distinct struct {
	pods []*v1.Pod
	keys map[pod.Key]string // where the pod is from
	uids map[types.UID]string
}

func newDistinct() *distinct {
	return &distinct{keys: map[pod.Key]string{}, uids: map[types.UID]string{}}
}

// add takes p in unless its key or UID is taken; then it returns by whom.
func (d *distinct) add(p *v1.Pod, from string) (other string, ok bool) {
	key := pod.KeyOf(p)
	if other, taken := d.keys[key]; taken {
		return other, false
	}
	if other, taken := d.uids[p.UID]; taken {
		return other, false
	}
	d.pods = append(d.pods, p)
	d.keys[key], d.uids[p.UID] = from, from
	return "", true
}
