package status

import (
	"maps"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

// A Resize is how far a change of a pod's resources has come (KEP-1287).
type Resize struct {
	// Pending says why what the spec asks for is not allocated; nil if it is.
	Pending *Pending
	// Generation is that of the pod that was allocated other resources last; 0 if
	// none was by this process.
	Generation int64
}

// A Pending says why a resize waits, in the words of its condition.
type Pending struct {
	Reason     string // v1.PodReasonDeferred or v1.PodReasonInfeasible
	Message    string
	Generation int64 // of the pod that asks for it
}

// resizing sets the conditions of a resize. One that failed keeps saying so until
// there is another.
func (v *view) resizing(s *v1.PodStatus) {
	if s.Phase == v1.PodSucceeded || s.Phase == v1.PodFailed {
		return
	}
	if p := v.Resize.Pending; p != nil {
		v.resize(s, v1.PodResizePending, verdict{p.Reason, p.Message}, p.Generation)
	}
	// What is allocated may not have come to the worker yet.
	if !plan.Resizing(v.Pod, v.Have) && v.Resize.Generation <= v.Pod.Generation {
		return
	}
	var is verdict
	generation := v.Resize.Generation
	if before := condition(v.Prev.Conditions, v1.PodResizeInProgress); before != nil && generation <= before.ObservedGeneration {
		generation, is = before.ObservedGeneration, verdict{before.Reason, before.Message}
	}
	if generation == 0 {
		generation = v.Pod.Generation
	}
	if f, failed := v.Have.Failures[pod.ResizeTarget]; failed {
		is = verdict{v1.PodReasonError, f.Message}
	}
	v.resize(s, v1.PodResizeInProgress, is, generation)
}

func (v *view) resize(s *v1.PodStatus, kind v1.PodConditionType, is verdict, generation int64) {
	c := v1.PodCondition{
		Type: kind, Status: v1.ConditionTrue, Reason: is.reason, Message: is.message,
		ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(v.Now),
	}
	if before := condition(v.Prev.Conditions, kind); before != nil && before.Reason == is.reason {
		c.LastTransitionTime = before.LastTransitionTime
	}
	s.Conditions = append(s.Conditions, c)
}

// applied returns the resources of a container that runs: what it was allocated,
// but for those of which it is known what it has. Tiny amounts, which the kernel
// rounds up, stay as they are written.
func (v *view) applied(d pod.Declared, c pod.Container) *v1.ResourceRequirements {
	r := d.Resources.DeepCopy()
	if c.Resources == nil {
		return r
	}
	put := func(to, from v1.ResourceList, name v1.ResourceName, least int64) {
		q, known := from[name]
		now := to[name]
		if to != nil && known && (q.MilliValue() > least || now.MilliValue() > least) {
			to[name] = q.DeepCopy()
		}
	}
	put(r.Limits, c.Resources.Limits, v1.ResourceCPU, minQuotaCPU)
	put(r.Limits, c.Resources.Limits, v1.ResourceMemory, 0)
	put(r.Requests, c.Resources.Requests, v1.ResourceCPU, minSharesCPU)
	if was, known := v.Have.Applied[d.Name]; known { // of a request for memory the runtime knows nothing
		put(r.Requests, was.Requests, v1.ResourceMemory, 0)
	}
	return r
}

// The least that the kernel knows of a limit and a request, in thousandths of a
// CPU.
const (
	minQuotaCPU  = 10
	minSharesCPU = 2
)

// whole sets the resources of the pod itself (KEP-5419).
func (v *view) whole(s *v1.PodStatus) {
	s.AllocatedResources = Requests(v.Pod)
	r := v1.ResourceRequirements{Requests: Requests(v.Pod), Limits: Limits(v.Pod)}
	if was, known := v.Have.Applied[""]; known && s.Phase == v1.PodRunning {
		maps.Copy(r.Requests, was.Requests)
		maps.Copy(r.Limits, was.Limits)
	}
	s.Resources = &r
}
