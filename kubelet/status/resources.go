package status

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"boot.internal/kubelet/pod"
)

// QOSClass returns the quality-of-service class of a pod.
func QOSClass(p *v1.Pod) v1.PodQOSClass {
	if resource.IsPodLevelResourcesSet(p) {
		return classOf(*p.Spec.Resources)
	}
	class := v1.PodQOSClass("")
	for _, d := range pod.Containers(p) {
		switch c := classOf(d.Resources); {
		case d.Kind == pod.Ephemeral:
		case class == "":
			class = c
		case class != c:
			return v1.PodQOSBurstable
		}
	}
	return cmp.Or(class, v1.PodQOSBestEffort)
}

// classOf returns the class of a pod that asks for r alone. A request that is
// not made is the limit.
func classOf(r v1.ResourceRequirements) v1.PodQOSClass {
	asks, guaranteed := false, true
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
		request, limit := r.Requests[name], r.Limits[name]
		asks = asks || !request.IsZero() || !limit.IsZero()
		guaranteed = guaranteed && !limit.IsZero() && (request.IsZero() || request.Cmp(limit) == 0)
	}
	switch {
	case !asks:
		return v1.PodQOSBestEffort
	case guaranteed:
		return v1.PodQOSGuaranteed
	}
	return v1.PodQOSBurstable
}

// Requests returns what a pod asks of its node: the most that its containers
// need at any time, plus its overhead (IC-47).
func Requests(p *v1.Pod) v1.ResourceList {
	return resource.PodRequests(p, resource.PodResourcesOptions{})
}

// Limits returns the most that a pod may use of its node (IC-47).
func Limits(p *v1.Pod) v1.ResourceList {
	return resource.PodLimits(p, resource.PodResourcesOptions{})
}
