package status

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

// Reasons of container states that people and programs look for.
const (
	creating       = "ContainerCreating"
	initializing   = "PodInitializing"
	crashLoop      = "CrashLoopBackOff"
	statusUnknown  = "ContainerStatusUnknown"
	restartingAll  = "RestartingAllContainers"
	completed      = "Completed"
	oomKilled      = "OOMKilled"
	exitCodeKilled = 137 // by signal 9: what is said where nobody knows
)

func waiting(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// toStart is the state of a container that was not started yet, whether the
// runtime has made it or not.
func (v *view) toStart() v1.ContainerState {
	if len(v.Pod.Spec.InitContainers) > 0 {
		return waiting(initializing, "")
	}
	return waiting(creating, "")
}

// lost is the state of a container that ended unseen.
func lost(message string) v1.ContainerState {
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
		ExitCode: exitCodeKilled, Reason: statusUnknown, Message: "The container could not be located: " + message,
	}}
}

// absent describes a container the runtime has no instance of: one that was not
// made yet, or one that it has forgotten.
func (v *view) absent(d pod.Declared, prev v1.ContainerStatus, said bool) v1.ContainerStatus {
	s := v1.ContainerStatus{
		Name: d.Name, Image: d.Image, State: v.toStart(),
		RestartCount: prev.RestartCount, LastTerminationState: prev.LastTerminationState,
	}
	switch {
	case said && d.Kind != pod.Ephemeral && v.restartingAll():
		v.reset(&s, prev)
	case prev.State.Terminated != nil:
		s = prev
	case d.Kind == pod.Init && v.pastInit():
		// It was cleared away, and nothing is remembered. It must have ended well,
		// or nothing would have come after it (IC-8).
		s.State = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			Reason: completed, Message: "The container is not there any more, and those after it have started",
		}}
	case prev.State.Running != nil:
		s.LastTerminationState = lost("it was running before")
		if !v.ending() {
			s.RestartCount++
		}
	}
	return s
}

// pastInit reports whether a regular container was ever made in this sandbox.
func (v *view) pastInit() bool { return plan.Initialised(v.Pod, v.Have, v.sandbox) }

// explainWaiting says why a container that should run does not: it could not be
// started, or it crashed and it is too early to try again. One that is restarted
// this moment keeps its state.
func (v *view) explainWaiting(s *v1.ContainerStatus, d pod.Declared, instances []pod.Container, prev v1.ContainerStatus) {
	ended := s.State.Terminated
	if v.ending() || v.over || s.State.Running != nil || ended != nil && !v.restarts(d, ended) {
		return
	}
	next := s.State
	if f, failed := v.Have.Failures[d.Name]; failed {
		next = waiting(f.Reason, f.Message)
	} else if len(instances) > 0 && instances[0].State == pod.Exited {
		next = v.betweenRuns(d, instances[0], next, prev)
	}
	if next.Waiting != nil && ended != nil {
		s.LastTerminationState = s.State
	}
	s.State = next
}

// betweenRuns returns the state of a container that exited and will run again. One
// that has waited for that waits until it runs: were it said to have exited once
// more, the end that its last state tells of would be its state, and of the one
// before, which was removed meanwhile, nothing is left to be its last state.
func (v *view) betweenRuns(d pod.Declared, c pod.Container, exited v1.ContainerState, prev v1.ContainerStatus) v1.ContainerState {
	if plan.BackoffLeft(v.Pod, d, c, v.Now) > 0 {
		return waiting(crashLoop, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
			c.Backoff, d.Name, v.Pod.Name, v.Pod.Namespace, v.Pod.UID))
	}
	blind := v.Have
	blind.Probes = nil
	if !plan.Restarts(v.Pod, blind, d, c) {
		// It is restarted because of its probe, though it ended well. The API knows
		// nothing of that, and would never let it leave this end (IC-45).
		return waiting(creating, "")
	}
	if prev.State.Waiting != nil && isOf(prev.LastTerminationState, v.containerID(c)) {
		return prev.State
	}
	return exited
}

// restarts reports whether a container that ended like this runs again.
func (v *view) restarts(d pod.Declared, ended *v1.ContainerStateTerminated) bool {
	_, id, _ := strings.Cut(ended.ContainerID, "://")
	c := pod.Container{ID: id, State: pod.Exited, ExitCode: ended.ExitCode, Reason: ended.Reason}
	return plan.Restarts(v.Pod, v.Have, d, c)
}

// keepTerminated keeps a container terminated that was said to be and that
// nothing restarts: the API takes no other news of it (IC-45).
func (v *view) keepTerminated(s *v1.ContainerStatus, d pod.Declared, prev v1.ContainerStatus) {
	t := prev.State.Terminated
	if t == nil || s.State.Terminated != nil || mayRestartAll(v.Pod) {
		return
	}
	if !v.restarts(d, t) {
		*s = prev
	}
}
