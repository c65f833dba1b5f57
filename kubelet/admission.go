package kubelet

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
)

// An admission is what the dispatcher needs to admit pods, and whom it tells.
type admission struct {
	// node returns what the node has for pods now.
	node func() admit.Node
	// before returns the UIDs of what ran when this process came, once that is
	// known: an earlier one admitted it.
	before func(ctx context.Context) map[pod.Key][]types.UID
	// resumed is told of a pod that an earlier process admitted and that goes on, before
	// its worker is.
	resumed func(p *v1.Pod)
	// over reports whether nothing of a pod runs or will: it holds nothing.
	over func(types.UID) bool
	// rejected is told why a pod may not run, with news when that is another
	// reason than before. It must not block.
	rejected func(p *v1.Pod, why admit.Rejection, news bool)
	// forget is told of a pod that was rejected and is desired no longer.
	forget func(types.UID)
}

// A rejection is a desired pod that may not run now.
type rejection struct {
	pod *v1.Pod
	why admit.Rejection
}

// admit admits what may run of the desired pods, and rejects the others for as
// long as something is in their way (SP-35). What was admitted stays so.
func (d *dispatcher) admit(ctx context.Context) {
	// Static pods hold until they are gone. One that the API has forgotten before
	// that was deleted by force: the scheduler has given its place away by now.
	held := slices.Collect(maps.Values(d.going))
	held = slices.DeleteFunc(held, func(p *v1.Pod) bool { return p == nil || !pod.IsStatic(p) })
	for _, p := range d.allocate(d.queue(), held) {
		key := pod.KeyOf(p)
		if why := d.check(p, held); why != nil {
			if old, ok := d.wants[key]; ok {
				held = append(held, old.Pod)
				d.letGo(ctx, key)
			}
			if !d.preempt(p, held) {
				d.reject(p, *why)
			}
			continue
		}
		if !d.isOver(p) {
			held = append(held, p)
		}
		d.unreject(key, p.UID)
		if d.ledger != nil && !d.isAdmitted(p) {
			d.ledger.Allocate(p)
		}
		d.resume(p)
		d.keep(ctx, p)
		delete(d.before, key)
	}
}

// queue returns the desired pods in the order in which they are asked: what is
// admitted, then what replaces something that runs, so that nobody else gets
// its place, then critical pods, so that nobody is let in and put out again, then
// the others, each in the order of the sources.
func (d *dispatcher) queue() []*v1.Pod {
	rank := func(p *v1.Pod) int {
		_, runs := d.wants[pod.KeyOf(p)]
		_, ran := d.before[pod.KeyOf(p)]
		switch {
		case d.isAdmitted(p):
			return 0
		case runs, ran:
			return 1
		case admit.IsCritical(p):
			return 2
		}
		return 3
	}
	return slices.SortedStableFunc(slices.Values(d.pods), func(a, b *v1.Pod) int { return rank(a) - rank(b) })
}

// isAdmitted reports whether this or an earlier process admitted the pod. That
// is for good: a restart of boot, or of the API that tells the node's labels, is
// no reason to end what runs (SP-34).
func (d *dispatcher) isAdmitted(p *v1.Pod) bool {
	key := pod.KeyOf(p)
	old, ok := d.wants[key]
	return ok && old.Pod.UID == p.UID || slices.Contains(d.before[key], p.UID)
}

// resume tells of a pod that ran before this process came, once, unless it is to end.
func (d *dispatcher) resume(p *v1.Pod) {
	if slices.Contains(d.before[pod.KeyOf(p)], p.UID) && p.DeletionTimestamp == nil && !hasEnded(p) {
		d.admission.resumed(p)
	}
}

// check returns why a pod may not run. One that is to end, or has, asks for
// nothing. What was said of a pod of the API stays so: the API knows it as Failed,
// and that is for good.
func (d *dispatcher) check(p *v1.Pod, held []*v1.Pod) *admit.Rejection {
	if d.isAdmitted(p) || p.DeletionTimestamp != nil || hasEnded(p) {
		return nil
	}
	if old, ok := d.rejected[pod.KeyOf(p)]; ok && old.pod.UID == p.UID && !pod.IsStatic(p) {
		return &old.why
	}
	return admit.Check(p, held, d.admission.node())
}

// isOver reports whether a pod holds nothing of the node any more.
func (d *dispatcher) isOver(p *v1.Pod) bool {
	return d.admission.over(p.UID) || hasEnded(p) && !slices.Contains(d.before[pod.KeyOf(p)], p.UID)
}

// hasEnded reports whether the API says that a pod has ended.
func hasEnded(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}

// reject notes that a pod may not run, and tells if that is news.
func (d *dispatcher) reject(p *v1.Pod, why admit.Rejection) {
	key := pod.KeyOf(p)
	old, was := d.rejected[key]
	if was && old.pod.UID != p.UID {
		d.admission.forget(old.pod.UID)
	}
	d.rejected[key] = rejection{p, why}
	if old.pod != p || old.why != why {
		d.admission.rejected(p, why, !was || old.pod.UID != p.UID || old.why != why)
	}
}

// repeat tells again why the pod of a key was rejected, if it was: what was told
// may have been lost with the last that was there of that pod.
func (d *dispatcher) repeat(key pod.Key) {
	if r, ok := d.rejected[key]; ok {
		d.admission.rejected(r.pod, r.why, false)
	}
}

// unreject drops a rejection. Unless the very pod runs now, it is forgotten.
func (d *dispatcher) unreject(key pod.Key, runs types.UID) {
	if old, ok := d.rejected[key]; ok && old.pod.UID != runs {
		d.admission.forget(old.pod.UID)
	}
	delete(d.rejected, key)
}

// recheck asks to look whether a rejected pod may run now. It never blocks.
func (d *dispatcher) recheck() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}
