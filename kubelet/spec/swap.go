package spec

import (
	"strconv"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Swap is how containers may use the swap of the node (KEP-2400).
type Swap struct {
	// Counted says that the kernel can limit swap at all. Otherwise nothing is
	// said of it.
	Counted bool
	// Limited lets burstable pods use swap (LimitedSwap); otherwise none may
	// (NoSwap). Only cgroup v2 can.
	Limited bool
	// Total is the swap of the node in bytes.
	Total int64
}

// limit sets how much swap a container may use. Of cgroup v1 it can only be said
// that memory and swap together are no more than the memory.
func (s Swap) limit(p *v1.Pod, d pod.Declared, n Node, out *cri.LinuxContainerResources) {
	switch {
	case !s.Counted:
	case !n.Unified:
		out.MemorySwapLimitInBytes = out.MemoryLimitInBytes
	case s.Limited && maySwap(p, d):
		out.Unified["memory.swap.max"] = strconv.FormatInt(s.share(d.Resources.Requests.Memory().Value(), n.Memory), 10)
	default:
		out.Unified["memory.swap.max"] = "0"
	}
}

// maySwap reports whether a container is one that may swap at all: its pod is
// neither critical (SP-32) nor of another class than burstable, and it asks for
// memory, but not for as much as it may have.
func maySwap(p *v1.Pod, d pod.Declared) bool {
	request, limit := d.Resources.Requests.Memory(), d.Resources.Limits.Memory()
	return !critical(p) && qosClass(p) == v1.PodQOSBurstable &&
		(!request.IsZero() || !limit.IsZero()) && request.Cmp(*limit) != 0
}

// share returns the part of the swap that is as large as the part of the memory
// that was requested.
func (s Swap) share(request, memory int64) int64 {
	if memory <= 0 || request > memory {
		return 0
	}
	return int64(float64(request) / float64(memory) * float64(s.Total))
}

// systemCritical is the least priority of pods the cluster cannot do without.
const systemCritical = 2000000000

func critical(p *v1.Pod) bool {
	return pod.IsStatic(p) || pod.IsMirror(p) || p.Spec.Priority != nil && *p.Spec.Priority >= systemCritical
}
