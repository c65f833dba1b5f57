package kubelet

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// neverResized says why a pod keeps what it was allocated: what containers have for
// themselves they have for good.
func (k *kubelet) neverResized(p, was *v1.Pod) string {
	c := k.o.Config
	if status.QOSClass(p) != v1.PodQOSGuaranteed {
		return ""
	}
	const why = "Resize is infeasible for Guaranteed Pods alongside %s Manager policy %q"
	if c.CPUManagerPolicy == cpus.Static && asksOther(p, was, v1.ResourceCPU) {
		return fmt.Sprintf(why, "CPU", c.CPUManagerPolicy)
	}
	if c.MemoryManagerPolicy == kubeletv1beta1.StaticMemoryManagerPolicy && asksOther(p, was, v1.ResourceMemory) {
		return fmt.Sprintf(why, "Memory", c.MemoryManagerPolicy)
	}
	return ""
}

// asksOther reports whether a container of a pod asks for more or less than it did.
func asksOther(p, was *v1.Pod, name v1.ResourceName) bool {
	for _, d := range pod.Containers(p) {
		old, ok := pod.Find(was, d.Name)
		if ok && !d.Resources.Requests[name].Equal(old.Resources.Requests[name]) {
			return true
		}
	}
	return false
}
