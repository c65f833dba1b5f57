package kubelet

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
)

// Words of a pod that has to go for a critical one.
const (
	preemptReason     = "Preempting"
	preemptMessage    = "Preempted in order to admit critical pod"
	preemptDisruption = "Pod was preempted by Kubelet to accommodate a critical pod."
)

// preempt ends pods so that a critical one gets the resources it lacks (SP-32).
// It reports whether they are on their way out: until they are gone the pod is
// neither admitted nor rejected. What is ending anyway is waited for first.
func (d *dispatcher) preempt(p *v1.Pod, held []*v1.Pod) bool {
	n := d.admission.node()
	if old, ok := d.rejected[pod.KeyOf(p)]; ok && old.pod.UID == p.UID && !pod.IsStatic(p) {
		return false // the API knows it as Failed
	}
	if len(admit.Victims(p, held, n)) == 0 {
		return false
	}
	staying := slices.DeleteFunc(slices.Clone(held), d.isEnding)
	for _, v := range admit.Victims(p, staying, n) {
		d.noteEnd(end{v.UID, pod.Stop{
			Since: time.Now(), Grace: pod.Grace(v), Reason: preemptReason, Message: preemptMessage, Disruption: preemptDisruption,
		}})
		d.preempted(v)
		d.recheck() // to tell the worker
	}
	d.unreject(pod.KeyOf(p), p.UID)
	return true
}

// isEnding reports whether what is held for a pod will be free without any doing.
func (d *dispatcher) isEnding(p *v1.Pod) bool {
	want, wanted := d.wants[pod.KeyOf(p)]
	return !wanted || want.Pod.UID != p.UID || d.stopOf(p) != nil
}

// sayPreempted tells of a pod that has to go for a critical one.
func (k *kubelet) sayPreempted(p *v1.Pod) {
	k.events.ofPod(p, v1.EventTypeWarning, preemptReason, preemptMessage)
}
