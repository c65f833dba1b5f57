// Package status tells the API how a pod is.
//
// Of decides what the status of a pod is, purely, from what there is of the pod
// and what was said of it before. A Writer gets it to the API: the latest of
// each pod, whenever there is an API to tell. Neither decides anything about the
// pod itself; what will become of a container is asked of package plan.
package status

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

// Input is what a status is made from.
type Input struct {
	// Pod is the pod as it is wanted or, once it is not any more, as it was.
	Pod *v1.Pod
	// Stop says why the pod is to end while it stays known; nil if it is not to.
	Stop *pod.Stop
	// Removed is set when nobody wants the pod any more.
	Removed bool
	// Have may hold things of other UIDs: they are ignored.
	Have pod.Observed
	// Prev is what was said last: times of transitions, and what the runtime has
	// forgotten, are taken from it. After a restart of boot that is what the API
	// holds (see Writer.Get).
	Prev v1.PodStatus
	// Resize is how far a resize of the pod has come.
	Resize Resize
	Now    time.Time
	// HostIPs are the addresses of the node, the primary one first.
	HostIPs []string
	// Runtime is the scheme of container IDs, such as "containerd".
	Runtime string
}

// Of returns the status of a pod.
func Of(in Input) v1.PodStatus {
	v := newView(in)
	s := v1.PodStatus{
		ObservedGeneration: in.Pod.Generation,
		QOSClass:           QOSClass(in.Pod),
		StartTime:          v.startTime(),
	}
	s.InitContainerStatuses = v.containers(pod.Init, pod.Sidecar)
	s.ContainerStatuses = byName(v.containers(pod.Regular))
	s.EphemeralContainerStatuses = byName(v.containers(pod.Ephemeral))
	if v.ended() {
		v.close(&s)
	}
	v.phase(&s)
	v.conditions(&s)
	v.resizing(&s)
	v.whole(&s)
	v.addresses(&s)
	normalise(&s)
	return s
}

// A view is what several parts of a status are made from.
type view struct {
	Input
	declared []pod.Declared
	sandbox  pod.Sandbox
	fault    plan.SandboxFault
	over     bool // nothing is left to do for the pod
	running  bool // something of it may be running
	trigger  bool // a container made all of them restart, and is still there (IC-19)
}

func newView(in Input) *view {
	in.Have = own(in.Pod, in.Have)
	v := &view{Input: in, declared: pod.Containers(in.Pod), over: plan.Over(in.Pod, in.Have)}
	v.sandbox, v.fault = plan.Sandbox(in.Pod, in.Have)
	for _, c := range in.Have.Containers {
		v.running = v.running || c.State == pod.Running || c.State == pod.Unknown
		v.trigger = v.trigger || c.SandboxID == v.sandbox.ID && plan.RestartsAll(in.Pod, in.Have, c)
	}
	return v
}

// own returns what is of the pod.
func own(p *v1.Pod, have pod.Observed) pod.Observed {
	mine := have
	mine.Sandboxes, mine.Containers = nil, nil
	for _, s := range have.Sandboxes {
		if s.UID == p.UID {
			mine.Sandboxes = append(mine.Sandboxes, s)
		}
	}
	for _, c := range have.Containers {
		if c.PodUID == p.UID {
			mine.Containers = append(mine.Containers, c)
		}
	}
	return mine
}

// ending reports whether the pod is to end.
func (v *view) ending() bool { return v.Stop != nil || v.Removed }

// ended reports whether the pod was to end, and did.
func (v *view) ended() bool { return v.ending() && !v.running }

// startTime is when the pod was first seen here. It never changes; where it was
// not noted the oldest sandbox tells about it.
func (v *view) startTime() *metav1.Time {
	if !v.Prev.StartTime.IsZero() {
		return v.Prev.StartTime.DeepCopy()
	}
	start := v.Now
	for _, s := range v.Have.Sandboxes {
		if !s.CreatedAt.IsZero() && s.CreatedAt.Before(start) {
			start = s.CreatedAt
		}
	}
	return new(metav1.NewTime(start))
}
