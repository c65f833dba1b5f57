package config

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// kubeletMemory checks what pods get of the memory of NUMA nodes. Whether what is
// reserved goes together with the machine is found when the node starts.
func (v *validator) kubeletMemory(k *kubeletv1beta1.KubeletConfiguration) {
	const field = "reservedMemory"
	v.oneOf(kindKubelet, "memoryManagerPolicy", k.MemoryManagerPolicy, "", kubeletv1beta1.NoneMemoryManagerPolicy, kubeletv1beta1.StaticMemoryManagerPolicy)
	type kept struct {
		node int32
		name corev1.ResourceName
	}
	seen := map[kept]bool{}
	for n, r := range k.ReservedMemory {
		for name, q := range r.Limits {
			at := fmt.Sprintf("%s[%d].limits.%s", field, n, name)
			memory := name == corev1.ResourceMemory || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
			v.check(memory, kindKubelet, at, fmt.Sprintf("the limit type %q for NUMA node %d is not supported", name, r.NumaNode), "memory and hugepages-<size> can be reserved")
			v.check(!q.IsZero(), kindKubelet, at, fmt.Sprintf("reserved memory may not be zero for NUMA node %d and resource %q", r.NumaNode, name))
			this := kept{r.NumaNode, name}
			v.check(!seen[this], kindKubelet, at, fmt.Sprintf("the reserved memory has a duplicate value for NUMA node %d and resource %q", r.NumaNode, name))
			seen[this] = true
		}
	}
	v.check(k.MemoryManagerPolicy != kubeletv1beta1.StaticMemoryManagerPolicy || len(k.ReservedMemory) > 0, kindKubelet, "memoryManagerPolicy",
		"Static needs reservedMemory", "write into it how much of systemReserved, kubeReserved and memory.available of evictionHard each NUMA node is to keep")
}
