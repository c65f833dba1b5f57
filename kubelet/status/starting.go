package status

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// How long the news that a pod is still starting may wait: the first, and what comes
// after it, of which there is less to learn. Most pods run by then, so that one
// status tells all: each costs the API server more than it costs to make, and when
// many pods start at once they wait for that.
// While pods wait for others to start, it waits for that, too, but no longer than the rush.
const (
	settle   = time.Second
	resettle = 3 * time.Second
	rush     = 10 * time.Second
)

// rest has an entry wait if all there is to tell is that its pod is starting. More
// news of that does not make it wait longer. w.mu is held.
func (e *entry) rest() {
	switch {
	case !stillStarting(e.pod, e.status):
		e.settled, e.overdue = time.Time{}, time.Time{}
	case !e.settled.IsZero():
	case e.written == nil:
		e.settled, e.overdue = now().Add(settle), now().Add(rush)
	default:
		e.settled, e.overdue = now().Add(resettle), now().Add(rush)
	}
}

// left is how long an entry has to wait, while pods start in a rush or not.
func (e *entry) left(now time.Time, inRush bool) time.Duration {
	wait := e.settled
	if inRush {
		wait = e.overdue
	}
	return max(e.next.Sub(now), wait.Sub(now))
}

// stillStarting reports whether a status tells nothing but that the pod is on its
// way: that nothing has ended, failed or is to end.
func stillStarting(p *v1.Pod, s *v1.PodStatus) bool {
	if s.Phase != v1.PodPending || s.Reason != "" || s.Message != "" || p.DeletionTimestamp != nil {
		return false
	}
	for _, c := range s.Conditions {
		if c.Type == v1.DisruptionTarget {
			return false
		}
	}
	all := slices.Concat(s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses)
	return !slices.ContainsFunc(all, hasNews)
}

// hasNews reports whether a container ended, or waits for another reason than that
// its turn has not come.
func hasNews(c v1.ContainerStatus) bool {
	if c.RestartCount > 0 || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil {
		return true
	}
	w := c.State.Waiting
	return w != nil && (w.Message != "" || w.Reason != creating && w.Reason != initializing)
}
