package kubelet

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// An end is a pod that the node itself ends: evicted, preempted, shut down.
type end struct {
	uid  types.UID
	stop pod.Stop
}

// stop ends a desired pod for a reason of the node's own. It fails, and is not
// started again: s says why, and how gently. Of several stops the one that ends
// first counts. It waits until the dispatcher has taken it, or ctx ends.
func (k *kubelet) stop(ctx context.Context, uid types.UID, s pod.Stop) {
	if s.Since.IsZero() {
		s.Since = time.Now()
	}
	select {
	case k.dispatch.ends <- end{uid, s}:
	case <-ctx.Done():
	}
}

// noteEnd notes what the node itself wants to end. What it said first of the
// reason stays.
func (d *dispatcher) noteEnd(e end) {
	if old, ok := d.stops[e.uid]; ok {
		e.stop = sooner(old, e.stop)
	}
	d.stops[e.uid] = e.stop
}

// stopOf returns why and how a desired pod is to end, nil if it is to run: it is
// deleted in the API, or the node ends it, or both.
func (d *dispatcher) stopOf(p *v1.Pod) *pod.Stop {
	own, ends := d.stops[p.UID]
	if p.DeletionTimestamp == nil {
		if !ends {
			return nil
		}
		return &own
	}
	deleted := deletion(p)
	if ends {
		deleted = sooner(own, deleted)
	}
	return &deleted
}

// deletion returns how the API wants a pod to end. The time of its deletion is
// when the grace that it was given is over.
func deletion(p *v1.Pod) pod.Stop {
	grace := pod.Grace(p)
	if s := p.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(max(*s, 0)) * time.Second
	}
	return pod.Stop{Since: p.DeletionTimestamp.Add(-grace), Grace: grace}
}

// sooner returns the first stop as it is, but for when it ends: that is when the
// sooner of them does.
func sooner(first, other pod.Stop) pod.Stop {
	if other.End().Before(first.End()) {
		first.Since, first.Grace = other.Since, other.Grace
	}
	return first
}

func sameStop(a, b *pod.Stop) bool {
	return a == b || a != nil && b != nil && a.Since.Equal(b.Since) && a.Grace == b.Grace &&
		a.Reason == b.Reason && a.Message == b.Message
}

// Words of a pod that ran for longer than it may.
const (
	deadlineReason  = "DeadlineExceeded"
	deadlineMessage = "Pod was active on the node longer than the specified deadline"
)

// watchDeadlines ends the desired pods that are over their deadline, forgets the
// stops of those that are gone, and comes back when the next deadline is due.
func (d *dispatcher) watchDeadlines(now time.Time) {
	next := time.Hour
	stops := make(map[types.UID]pod.Stop, len(d.stops))
	for _, p := range d.pods {
		if s, ok := d.stops[p.UID]; ok {
			stops[p.UID] = s
			continue
		}
		left, limited := d.timeLeft(p, now)
		switch {
		case !limited || hasEnded(p):
		case left > 0:
			next = min(next, left)
		default:
			stops[p.UID] = pod.Stop{Since: now, Grace: pod.Grace(p), Reason: deadlineReason, Message: deadlineMessage, Fails: true}
			d.expired(p)
		}
	}
	d.stops = stops
	d.deadline.Reset(next)
}

// timeLeft returns how long a pod may still run, if that is limited. It counts
// from when the pod was first seen here.
func (d *dispatcher) timeLeft(p *v1.Pod, now time.Time) (left time.Duration, limited bool) {
	if p.Spec.ActiveDeadlineSeconds == nil {
		return 0, false
	}
	start := d.started(p.UID)
	if start.IsZero() {
		start = now
	}
	return start.Add(time.Duration(*p.Spec.ActiveDeadlineSeconds) * time.Second).Sub(now), true
}
