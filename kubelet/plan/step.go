package plan

import (
	"time"

	"boot.internal/kubelet/pod"
)

// A step is a plan in the making.
type step struct {
	have pod.Observed
	now  time.Time
	next Next
}

// do plans an action, unless the last one on the same target failed and it is
// too early to try again. It reports whether the action was planned. Failures
// from before a tear-down began do not hold the tear-down up: an image that
// cannot be pulled is no reason to wait with removing the pod.
func (s *step) do(a pod.Action) bool {
	if f, failed := s.have.Failures[a.Target()]; failed && f.Retry.After(s.now) && !f.At.Before(s.have.Stopping) {
		s.wakeAt(f.Retry)
		return false
	}
	s.next.Actions = append(s.next.Actions, a)
	return true
}

// wakeAt asks for a look at t at the latest.
func (s *step) wakeAt(t time.Time) {
	if wait := t.Sub(s.now); s.next.Wake == 0 || wait < s.next.Wake {
		s.next.Wake = wait
	}
}
