package spec

import (
	v1 "k8s.io/api/core/v1"
	podresource "k8s.io/component-helpers/resource"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Resources returns what one container may use, as its ContainerConfig has it
// and as it is changed while it runs.
func Resources(p *v1.Pod, d pod.Declared, n Node) *cri.LinuxContainerResources {
	return containerResources(p, d, n)
}

// PodMemoryLimit returns what all containers of a pod together may use, in
// bytes; 0 where one of them is not limited.
func PodMemoryLimit(p *v1.Pod) int64 {
	if p.Spec.Resources == nil || p.Spec.Resources.Limits.Memory().IsZero() {
		for _, d := range pod.Containers(p) {
			if d.Kind != pod.Ephemeral && d.Resources.Limits.Memory().IsZero() {
				return 0
			}
		}
	}
	limits := podresource.PodLimits(p, podresource.PodResourcesOptions{})
	return limits.Memory().Value()
}
