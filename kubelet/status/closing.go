package status

import (
	v1 "k8s.io/api/core/v1"
)

// close gives every container of a pod that ended an end: what is said to wait or
// to run now would be said for ever. Nobody knows how it ended, so it counts as
// killed.
func (v *view) close(s *v1.PodStatus) {
	if v.wasInitialised(s) {
		for i := range s.ContainerStatuses {
			end(&s.ContainerStatuses[i])
		}
	}
	// Init containers that never started did not fail: what stands behind the
	// last one with evidence of a start is left as it is (IC-46).
	for i := len(s.InitContainerStatuses) - 1; i >= 0; i-- {
		c := s.InitContainerStatuses[i]
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil {
			for j := range i + 1 {
				end(&s.InitContainerStatuses[j])
			}
			return
		}
	}
}

// wasInitialised reports whether regular containers could have run.
func (v *view) wasInitialised(s *v1.PodStatus) bool {
	n := len(s.InitContainerStatuses)
	if n == 0 || s.InitContainerStatuses[n-1].Ready {
		return true
	}
	for _, c := range append(s.ContainerStatuses, v.Prev.ContainerStatuses...) {
		if c.State.Waiting == nil || c.LastTerminationState.Terminated != nil {
			return true
		}
	}
	return false
}

func end(c *v1.ContainerStatus) {
	if c.State.Terminated == nil {
		c.State = lost("the pod was terminated")
		c.Ready, c.Started = false, new(false)
	}
}
