package spec

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Scores by which the kernel chooses what to kill when memory is short: the
// higher, the earlier.
const (
	guaranteedScore = -997
	bestEffortScore = 1000
)

const nodeCritical = "system-node-critical"

// oomScoreAdj returns the score of a container. Pods the node cannot do without
// are spared like guaranteed ones (SP-32); of burstable pods those go first
// that asked for least; a sidecar never goes before the containers it serves
// (IC-48).
func oomScoreAdj(p *v1.Pod, d pod.Declared, memory int64) int64 {
	if p.Spec.PriorityClassName == nodeCritical {
		return guaranteedScore
	}
	switch qosClass(p) {
	case v1.PodQOSGuaranteed:
		return guaranteedScore
	case v1.PodQOSBestEffort:
		return bestEffortScore
	}
	extra := unallocated(p)
	score := burstableScore(d.Container, extra, memory)
	if d.Kind == pod.Sidecar {
		for i := range p.Spec.Containers {
			score = min(score, burstableScore(&p.Spec.Containers[i], extra, memory))
		}
	}
	return score
}

// burstableScore keeps between the scores of the other two classes.
func burstableScore(c *v1.Container, extra, memory int64) int64 {
	if memory <= 0 {
		return bestEffortScore - 1
	}
	score := bestEffortScore - bestEffortScore*(c.Resources.Requests.Memory().Value()+extra)/memory
	return min(max(score, bestEffortScore+guaranteedScore), bestEffortScore-1)
}

// unallocated returns each container's share of the memory that the pod as a
// whole requests beyond what its containers do.
func unallocated(p *v1.Pod) int64 {
	if p.Spec.Resources == nil {
		return 0
	}
	left, count := p.Spec.Resources.Requests.Memory().Value(), int64(0)
	for _, d := range pod.Containers(p) {
		if d.Kind == pod.Regular || d.Kind == pod.Sidecar {
			left -= d.Resources.Requests.Memory().Value()
			count++
		}
	}
	return max(left, 0) / max(count, 1)
}

// qosClass returns the quality-of-service class of p: from its status if there, for
// the class of a pod never changes, else from what it asks for.
func qosClass(p *v1.Pod) v1.PodQOSClass {
	if p.Status.QOSClass != "" {
		return p.Status.QOSClass
	}
	all := []v1.ResourceRequirements{}
	if p.Spec.Resources != nil {
		all = append(all, *p.Spec.Resources)
	} else {
		for _, d := range pod.Containers(p) {
			if d.Kind != pod.Ephemeral {
				all = append(all, d.Resources)
			}
		}
	}
	asks, guaranteed := false, true
	for _, r := range all {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
			request, limit := r.Requests[name], r.Limits[name]
			asks = asks || !request.IsZero() || !limit.IsZero()
			// A request that is not set is the limit.
			guaranteed = guaranteed && !limit.IsZero() && (request.IsZero() || request.Cmp(limit) == 0)
		}
	}
	switch {
	case !asks:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	default:
		return v1.PodQOSBurstable
	}
}
