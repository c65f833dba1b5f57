package spec

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresource "k8s.io/component-helpers/resource"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// What the kernel takes at least.
const (
	minShares = 2
	maxShares = 262144
	minQuota  = int64(time.Millisecond / time.Microsecond)
)

// containerResources returns what one container may use.
func containerResources(p *v1.Pod, d pod.Declared, n Node) *cri.LinuxContainerResources {
	limits := effectiveLimits(p, d)
	out := resourceSum(d.Resources.Requests, limits, n)
	out.OomScoreAdj = oomScoreAdj(p, d, n.Memory)
	out.HugepageLimits = hugePages(limits, n.HugePageSizes)
	if n.Unified {
		out.Unified = n.Keep.Container(p, d, qosClass(p), n.Allocatable.Memory().Value())
		if n.OOMGroup {
			out.Unified["memory.oom.group"] = "1"
		}
	}
	n.Swap.limit(p, d, n, out)
	n.pin(p, d.Name, out)
	return out
}

// effectiveLimits returns the limits of a container. Where it has none of its
// own, those of the whole pod are (KEP-2837).
func effectiveLimits(p *v1.Pod, d pod.Declared) v1.ResourceList {
	if p.Spec.Resources == nil || len(p.Spec.Resources.Limits) == 0 {
		return d.Resources.Limits
	}
	all := maps.Clone(p.Spec.Resources.Limits)
	for name, q := range d.Resources.Limits {
		if !q.IsZero() {
			all[name] = q
		}
	}
	return all
}

// overhead tells the runtime what a pod costs beside its containers.
func overhead(p *v1.Pod, n Node) *cri.LinuxContainerResources {
	if len(p.Spec.Overhead) == 0 {
		return &cri.LinuxContainerResources{}
	}
	return resourceSum(p.Spec.Overhead, p.Spec.Overhead, n)
}

// podResources tells the runtime what all containers together may use, without
// the overhead. It is for runtimes that run a pod in a virtual machine.
func podResources(p *v1.Pod, n Node) *cri.LinuxContainerResources {
	o := podresource.PodResourcesOptions{ExcludeOverhead: true}
	out := resourceSum(podresource.PodRequests(p, o), podresource.PodLimits(p, o), n)
	n.free(p, out)
	return out
}

// resourceSum turns requests and limits into the terms of the kernel. Where
// only a limit is set, it is the request too.
func resourceSum(requests, limits v1.ResourceList, n Node) *cri.LinuxContainerResources {
	cpu, ok := requests[v1.ResourceCPU]
	if !ok {
		cpu = limits[v1.ResourceCPU]
	}
	out := &cri.LinuxContainerResources{
		CpuShares:          shares(cpu.MilliValue()),
		MemoryLimitInBytes: limits.Memory().Value(),
	}
	if n.CPUPeriod > 0 {
		out.CpuPeriod = n.CPUPeriod.Microseconds()
		out.CpuQuota = quota(limits.Cpu().MilliValue(), out.CpuPeriod)
	}
	return out
}

func shares(milliCPU int64) int64 {
	return min(max(milliCPU*1024/1000, minShares), maxShares)
}

func quota(milliCPU, period int64) int64 {
	if milliCPU == 0 {
		return 0
	}
	return max(milliCPU*period/1000, minQuota)
}

// hugePages limits every size the node has, those not asked for to nothing.
func hugePages(limits v1.ResourceList, sizes []string) []*cri.HugepageLimit {
	asked := map[string]uint64{}
	for name, q := range limits {
		if size, ok := strings.CutPrefix(string(name), v1.ResourceHugePagesPrefix); ok {
			asked[kernelPageSize(size)] = uint64(q.Value())
		}
	}
	var all []*cri.HugepageLimit
	for _, size := range slices.Sorted(slices.Values(sizes)) {
		all = append(all, &cri.HugepageLimit{PageSize: size, Limit: asked[size]})
	}
	return all
}

// kernelPageSize spells a size such as 2Mi as the hugetlb controller does: 2MB.
func kernelPageSize(size string) string {
	q, err := resource.ParseQuantity(size)
	if err != nil {
		return size
	}
	bytes, units := q.Value(), []string{"B", "KB", "MB", "GB"}
	for bytes >= 1024 && len(units) > 1 {
		bytes, units = bytes/1024, units[1:]
	}
	return strconv.FormatInt(bytes, 10) + units[0]
}
