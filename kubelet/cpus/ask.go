package cpus

import (
	v1 "k8s.io/api/core/v1"
	podresource "k8s.io/component-helpers/resource"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/pod"
)

// asks returns how many CPUs a container is to have for itself: as many as it asks
// for, if that is a whole number and its pod is guaranteed what it asks for. In a pod
// that asks for resources as a whole, nobody gets any: that takes a feature of
// upstream that is off unless asked for (PodLevelResourceManagers, KEP-5526).
func (p *Pool) asks(of *v1.Pod, container *v1.Container) int {
	if podresource.IsPodLevelResourcesSet(of) || !p.o.Guaranteed(of) {
		return 0
	}
	q := container.Resources.Requests[v1.ResourceCPU]
	if q.Value()*1000 != q.MilliValue() {
		return 0
	}
	return int(q.Value())
}

// podAsks returns how many CPUs containers of a pod have for themselves at a time, at
// most: init containers use the CPUs of those before them again.
func (p *Pool) podAsks(of *v1.Pod) int {
	most, sidecars, regular := 0, 0, 0
	for _, d := range pod.Containers(of) {
		switch n := p.asks(of, d.Container); d.Kind {
		case pod.Init:
			most = max(most, sidecars+n)
		case pod.Sidecar:
			sidecars += n
		case pod.Regular:
			regular += n
		}
	}
	return max(most, sidecars+regular)
}

// again returns the CPUs that a container can use again: those of init containers
// that have ended by then, unless another has them. mu must be held.
func (p *Pool) again(of *v1.Pod, container string) cpuset.CPUSet {
	free := cpuset.New()
	for _, d := range pod.Containers(of) {
		own := p.given[of.UID][d.Name]
		switch {
		case d.Name == container:
			return free
		case d.Kind == pod.Init:
			free = free.Union(own)
		default:
			free = free.Difference(own)
		}
	}
	return free
}
