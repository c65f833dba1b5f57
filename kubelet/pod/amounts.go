package pod

import v1 "k8s.io/api/core/v1"

// Amounts are the resources that can be changed while a container runs, CPU in
// thousandths and memory in bytes. 0 is none.
type Amounts struct {
	CPURequest, CPULimit       int64
	MemoryRequest, MemoryLimit int64
}

// AmountsOf returns the amounts of a container in a pod. A limit that the
// container does not have is that of the pod, if there is one (KEP-2837).
func AmountsOf(container v1.ResourceRequirements, pod *v1.ResourceRequirements) Amounts {
	limit := func(name v1.ResourceName) v1.ResourceList {
		if _, own := container.Limits[name]; own || pod == nil {
			return container.Limits
		}
		return pod.Limits
	}
	cpu, memory := limit(v1.ResourceCPU), limit(v1.ResourceMemory)
	return Amounts{
		CPURequest: container.Requests.Cpu().MilliValue(), CPULimit: cpu.Cpu().MilliValue(),
		MemoryRequest: container.Requests.Memory().Value(), MemoryLimit: memory.Memory().Value(),
	}
}
