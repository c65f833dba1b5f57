package status

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/pod"
)

// owned are the conditions that the kubelet alone sets.
var owned = []v1.PodConditionType{ //nolint:gochecknoglobals // a table
	v1.PodReadyToStartContainers, v1.PodInitialized, v1.PodReady, v1.ContainersReady, v1.PodScheduled,
	v1.AllContainersRestarting, v1.PodResizePending, v1.PodResizeInProgress,
}

// A verdict is a condition's status, with a reason if that is not True.
type verdict struct{ reason, message string }

// conditions sets the conditions of the pod. Those of others are kept.
func (v *view) conditions(s *v1.PodStatus) {
	s.Conditions = foreign(v.given())
	ready := v.containersReady(s)
	for _, c := range []struct {
		kind v1.PodConditionType
		verdict
	}{
		{v1.PodReadyToStartContainers, v.readyToStart()},
		{v1.PodInitialized, v.initialized(s)},
		{v1.PodReady, v.ready(ready, s.Conditions)},
		{v1.ContainersReady, ready},
		{v1.PodScheduled, verdict{}},
	} {
		v.set(s, c.kind, c.verdict, v1.ConditionTrue)
	}
	v.disrupted(s)
	// Initialized is True with a reason once the pod has succeeded (IC-41).
	if c := condition(s.Conditions, v1.PodInitialized); s.Phase == v1.PodSucceeded && c.Status == v1.ConditionTrue {
		c.Reason = podCompleted
	}
	if mayRestartAll(v.Pod) {
		v.set(s, v1.AllContainersRestarting, v.allRestarting(s), v1.ConditionFalse)
	}
}

// Reasons of conditions.
const (
	podCompleted             = "PodCompleted"
	podFailed                = "PodFailed"
	containersNotReady       = "ContainersNotReady"
	containersNotInitialized = "ContainersNotInitialized"
	readinessGatesNotReady   = "ReadinessGatesNotReady"
	sandboxNotReady          = "PodSandboxNotReady"
	restartAllStarted        = "RestartAllContainersStarted"
)

// disrupted says why the node ends the pod, where it is the node that does
// (KEP-3329).
func (v *view) disrupted(s *v1.PodStatus) {
	if v.Stop == nil || v.Stop.Disruption == "" {
		return
	}
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c v1.PodCondition) bool { return c.Type == v1.DisruptionTarget })
	v.set(s, v1.DisruptionTarget, verdict{v1.PodReasonTerminationByKubelet, v.Stop.Disruption}, v1.ConditionFalse)
}

// set appends a condition: of the status good if there is nothing to say about
// it, else of the other one. The time of transition is kept while the status is.
func (v *view) set(s *v1.PodStatus, kind v1.PodConditionType, is verdict, good v1.ConditionStatus) {
	c := v1.PodCondition{
		Type: kind, Status: good, Reason: is.reason, Message: is.message,
		ObservedGeneration: v.Pod.Generation, LastTransitionTime: metav1.NewTime(v.Now),
	}
	if is.reason != "" {
		c.Status = v1.ConditionFalse
		if good == v1.ConditionFalse {
			c.Status = v1.ConditionTrue
		}
	}
	if before := condition(v.Prev.Conditions, kind); before != nil && before.Status == c.Status {
		c.LastTransitionTime = before.LastTransitionTime
	}
	s.Conditions = append(s.Conditions, c)
}

// readyToStart holds once the sandbox is up with its network (IC-43).
func (v *view) readyToStart() verdict {
	if v.fault != "" {
		return verdict{sandboxNotReady, string(v.fault)}
	}
	return verdict{}
}

// initialized holds once all plain init containers exited with 0 and all
// sidecars started, and stays so: once a regular container has started, and
// while all containers restart (IC-41, IC-19).
func (v *view) initialized(s *v1.PodStatus) verdict {
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting == nil {
			return verdict{}
		}
	}
	before := condition(v.Prev.Conditions, v1.PodInitialized)
	if mayRestartAll(v.Pod) && before != nil && before.Status == v1.ConditionTrue {
		return verdict{}
	}
	var missing []string
	for _, c := range s.InitContainerStatuses {
		d, _ := pod.Find(v.Pod, c.Name)
		if done := c.Ready || d.Kind == pod.Sidecar && isTrue(c.Started); !done {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) > 0 {
		return verdict{containersNotInitialized, fmt.Sprintf("containers with incomplete status: %s", missing)}
	}
	return verdict{}
}

// containersReady holds while all regular containers and sidecars are ready
// (IC-29, IC-42).
func (v *view) containersReady(s *v1.PodStatus) verdict {
	switch s.Phase {
	case v1.PodSucceeded:
		return verdict{reason: podCompleted}
	case v1.PodFailed:
		return verdict{reason: podFailed}
	}
	var unready []string
	for _, c := range append(slices.Clone(s.InitContainerStatuses), s.ContainerStatuses...) {
		if d, _ := pod.Find(v.Pod, c.Name); d.Kind != pod.Init && !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) > 0 {
		return verdict{containersNotReady, fmt.Sprintf("containers with unready status: %s", unready)}
	}
	return verdict{}
}

// ready adds the readiness gates, which others open (IC-42).
func (v *view) ready(containers verdict, given []v1.PodCondition) verdict {
	if containers.reason != "" {
		return containers
	}
	var closed []string
	for _, gate := range v.Pod.Spec.ReadinessGates {
		switch c := condition(given, gate.ConditionType); {
		case c == nil:
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		case c.Status != v1.ConditionTrue:
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	if len(closed) > 0 {
		return verdict{readinessGatesNotReady, strings.Join(closed, ", ")}
	}
	return verdict{}
}

// allRestarting says why the condition is True, which is the exception here.
func (v *view) allRestarting(s *v1.PodStatus) verdict {
	if v.trigger && !finished(s.Phase) {
		return verdict{restartAllStarted, "container exited with restart policy rule"}
	}
	return verdict{}
}

// given returns the conditions as others last left them: those of an API pod
// come with it, those of a mirror with what was said last.
func (v *view) given() []v1.PodCondition {
	if pod.IsStatic(v.Pod) {
		return v.Prev.Conditions
	}
	return v.Pod.Status.Conditions
}

// Foreign returns the conditions in a status that are not the kubelet's, and that
// it goes by all the same: readiness gates are opened by others.
func Foreign(s v1.PodStatus) []v1.PodCondition { return foreign(s.Conditions) }

// foreign returns the conditions that are not the kubelet's.
func foreign(all []v1.PodCondition) []v1.PodCondition {
	var others []v1.PodCondition
	for _, c := range all {
		if !slices.Contains(owned, c.Type) {
			others = append(others, c)
		}
	}
	return others
}

func condition(all []v1.PodCondition, kind v1.PodConditionType) *v1.PodCondition {
	for i := range all {
		if all[i].Type == kind {
			return &all[i]
		}
	}
	return nil
}
