package cpus

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/pod"
)

// Hints returns which NUMA nodes have the CPUs that a container asks for. It
// implements numa.Provider.
func (p *Pool) Hints(of *v1.Pod, container string) numa.Hints {
	d, ok := pod.Find(of, container)
	if !ok || d.Kind == pod.Ephemeral {
		return nil
	}
	n := p.asks(of, d.Container)
	if n == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	own, has := p.given[of.UID][container]
	switch {
	case has && own.Size() != n:
		return nowhere()
	case has:
		return p.hints(own, cpuset.New(), n)
	}
	return p.hints(p.free(), p.again(of, container), n)
}

// PodHints returns which NUMA nodes have the CPUs of all containers of a pod. It
// implements numa.Provider.
func (p *Pool) PodHints(of *v1.Pod) numa.Hints {
	n := p.podAsks(of)
	if n == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	has := cpuset.New()
	for _, d := range pod.Containers(of) {
		own, given := p.given[of.UID][d.Name]
		if given && own.Size() != p.asks(of, d.Container) {
			return nowhere()
		}
		has = has.Union(own)
	}
	if has.Size() == n {
		return p.hints(has, cpuset.New(), n)
	}
	return p.hints(p.free(), has, n)
}

// nowhere says that CPUs cannot be had.
func nowhere() numa.Hints { return numa.Hints{v1.ResourceCPU: {}} }

// hints returns all sets of nodes that hold the CPUs to be used again, and n of those
// and the free ones. Preferred are the smallest sets that could hold n if all was free.
func (p *Pool) hints(free, again cpuset.CPUSet, n int) numa.Hints {
	s := p.shape
	ids := s.ids(node, s.all)
	fewest, hints := len(ids), []numa.Hint{}
	for k := 1; k <= len(ids); k++ {
		for some := range combinations(ids, k) {
			nodes := numa.NodesOf(some...)
			if k < fewest && s.on(nodes, s.all).Size() >= n {
				fewest = k
			}
			if again.IsSubsetOf(s.on(nodes, again)) && again.Size()+s.on(nodes, free).Size() >= n {
				hints = append(hints, numa.Hint{Nodes: nodes})
			}
		}
	}
	for i := range hints {
		hints[i].Preferred = hints[i].Nodes.Len() == fewest || p.o.Policy.BySocket && p.onFewestSockets(hints[i].Nodes, fewest)
	}
	return numa.Hints{v1.ResourceCPU: hints}
}

// onFewestSockets reports whether nodes lie on no more sockets than the fewest nodes
// that have enough need.
func (p *Pool) onFewestSockets(nodes numa.Nodes, fewest int) bool {
	perSocket := p.shape.units[node] / max(p.shape.units[socket], 1)
	if perSocket == 0 {
		return false
	}
	return len(p.shape.ids(socket, p.shape.on(nodes, p.shape.all))) == ceil(fewest, perSocket)
}
