package status

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// phase sets the phase of the pod, and its reason and message.
func (v *view) phase(s *v1.PodStatus) {
	s.Phase = v.fromContainers(s)
	evicted := v.Stop != nil && v.Stop.Reason != ""
	stuck := v.over && !v.running || v.ended() && !pod.IsStatic(v.Pod) // it will not get any further (IC-13, IC-24)
	if evicted && v.Stop.Fails || (evicted || stuck) && !finished(s.Phase) {
		s.Phase = v1.PodFailed
	}
	before := v.last()
	if finished(before) && !pod.IsStatic(v.Pod) {
		s.Phase = before // there is no way back
	}
	if finished(s.Phase) && v.running { // it is not, as long as something runs
		s.Phase = v1.PodRunning
		if before != "" && !finished(before) {
			s.Phase = before
		}
	}
	switch {
	case s.Phase == v1.PodFailed && evicted:
		s.Reason, s.Message = v.Stop.Reason, v.Stop.Message
	case s.Phase == v.Prev.Phase:
		s.Reason, s.Message = v.Prev.Reason, v.Prev.Message
	}
}

// last returns the phase before: what was said last, or what the API says.
func (v *view) last() v1.PodPhase {
	if finished(v.Pod.Status.Phase) || v.Prev.Phase == "" {
		return v.Pod.Status.Phase
	}
	return v.Prev.Phase
}

func finished(p v1.PodPhase) bool { return p == v1.PodSucceeded || p == v1.PodFailed }

// A tally counts containers by what they mean for the phase.
type tally struct {
	initPending    int // plain init containers that have to run yet
	initFailed     int // plain init containers that failed for good
	sidecarPending int // sidecars that have not started
	running        int // sidecars and regular containers
	waiting        int // those that never ran
	stopped        int // regular ones
	succeeded      int // of those
	restartable    int // of those
}

// fromContainers returns the phase the containers add up to (IC-38, IC-39,
// IC-40).
func (v *view) fromContainers(s *v1.PodStatus) v1.PodPhase {
	t := v.count(s)
	switch {
	case t.initFailed > 0:
		return v1.PodFailed
	case t.initPending > 0, t.sidecarPending > 0 && !v.pastInit(), t.waiting > 0:
		return v1.PodPending
	case t.running > 0:
		return v1.PodRunning
	case t.stopped == 0:
		return v1.PodPending
	case v.restartingAll() && !v.over && !v.ended(): // what is stopped starts over
		return v1.PodRunning
	case t.restartable > 0 && (!v.ended() || pod.IsStatic(v.Pod)):
		return v1.PodRunning
	case t.stopped == t.succeeded:
		return v1.PodSucceeded
	}
	return v1.PodFailed
}

func (v *view) count(s *v1.PodStatus) tally {
	var t tally
	all := append(append([]v1.ContainerStatus{}, s.InitContainerStatuses...), s.ContainerStatuses...)
	for _, c := range all {
		d, _ := pod.Find(v.Pod, c.Name)
		ended := c.State.Terminated
		if ended == nil && c.State.Waiting != nil {
			ended = c.LastTerminationState.Terminated
		}
		switch d.Kind {
		case pod.Init:
			v.countInit(&t, d, c, ended)
		case pod.Sidecar:
			countSidecar(&t, c, ended)
		default:
			v.countRegular(&t, d, c, ended)
		}
	}
	return t
}

func (v *view) countInit(t *tally, d pod.Declared, c v1.ContainerStatus, ended *v1.ContainerStateTerminated) {
	switch {
	case c.State.Running != nil || ended == nil:
		t.initPending++
	case failed(ended) && !v.again(d, ended):
		t.initFailed++
	}
}

// countSidecar counts a sidecar. One that ended counts for nothing: it is
// started again or it is not missed (IC-40).
func countSidecar(t *tally, c v1.ContainerStatus, ended *v1.ContainerStateTerminated) {
	switch {
	case c.State.Running != nil:
		t.running++
		if !isTrue(c.Started) {
			t.sidecarPending++
		}
	case ended == nil:
		t.sidecarPending++
		t.waiting++
	}
}

func (v *view) countRegular(t *tally, d pod.Declared, c v1.ContainerStatus, ended *v1.ContainerStateTerminated) {
	switch {
	case c.State.Running != nil:
		t.running++
	case ended == nil:
		t.waiting++
	default:
		t.stopped++
		if v.again(d, ended) || v.startsOver(c) {
			t.restartable++
		}
		if !failed(ended) {
			t.succeeded++
		}
	}
}

// startsOver reports whether a container waits to run once more because all of
// its pod do, whatever its own policy: how it ended before says nothing (IC-19).
func (v *view) startsOver(c v1.ContainerStatus) bool {
	return c.State.Waiting != nil && mayRestartAll(v.Pod) && !v.over && !v.ending()
}

// again reports whether a container that ended runs again.
func (v *view) again(d pod.Declared, ended *v1.ContainerStateTerminated) bool {
	return ended.Reason == restartingAll || v.restarts(d, ended)
}

func failed(t *v1.ContainerStateTerminated) bool { return t.ExitCode != 0 || t.Reason == oomKilled }
