package cpus

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/pod"
)

// Allocate gives a container the CPUs it asks for, from these NUMA nodes as far as
// they have any. It implements numa.Provider.
func (p *Pool) Allocate(to *v1.Pod, container string, at numa.Hint) error {
	d, ok := pod.Find(to, container)
	if !ok || d.Kind == pod.Ephemeral {
		return nil
	}
	n := p.asks(to, d.Container)
	if n == 0 {
		return nil
	}
	given, err := p.give(to, container, n, at.Nodes)
	if given {
		p.o.Changed()
	}
	return err
}

// give chooses CPUs for a container and notes that they are its own. given is false
// if it has some already: those it keeps, even where they would be refused now.
func (p *Pool) give(to *v1.Pod, container string, n int, nodes numa.Nodes) (given bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, has := p.given[to.UID][container]; has {
		return false, nil
	}
	cpus, err := p.choose(to, container, n, nodes)
	p.count(cpus, err)
	if err != nil {
		return false, err
	}
	if p.given[to.UID] == nil {
		p.given[to.UID] = map[string]cpuset.CPUSet{}
	}
	p.given[to.UID][container] = cpus
	p.shared = p.shared.Difference(cpus)
	p.save()
	return true, nil
}

// choose chooses CPUs for a container. mu must be held.
func (p *Pool) choose(to *v1.Pod, container string, n int, nodes numa.Nodes) (cpuset.CPUSet, error) {
	if err := p.refuseParts(n); err != nil {
		return cpuset.New(), err
	}
	free := p.free().Union(p.again(to, container))
	near, err := cpuset.New(), error(nil)
	if nodes != 0 {
		of := p.near(nodes, free)
		if near, err = p.take(of, min(n, of.Size())); err != nil {
			return cpuset.New(), err
		}
	}
	rest, err := p.take(free.Difference(near), n-near.Size())
	if err != nil {
		return cpuset.New(), err
	}
	return near.Union(rest), nil
}

// free returns the CPUs that can be given. mu must be held.
func (p *Pool) free() cpuset.CPUSet { return p.shared.Difference(p.reserved) }

// near returns those of the free CPUs that lie on the nodes, or the sockets of these.
func (p *Pool) near(nodes numa.Nodes, free cpuset.CPUSet) cpuset.CPUSet {
	if !p.o.Policy.BySocket {
		return p.shape.on(nodes, free)
	}
	return p.shape.in(socket, free, p.shape.ids(socket, p.shape.on(nodes, p.shape.all))...)
}

// refuseParts refuses what is no whole number of cores, where only such are given.
// The cores of reserved CPUs count as taken. mu must be held.
func (p *Pool) refuseParts(n int) error {
	threads := p.shape.mean[core]
	if !p.o.Policy.WholeCores || threads == 0 {
		return nil
	}
	const reason = "SMTAlignmentError"
	if n%threads != 0 {
		return &numa.Refusal{Reason: reason, Err: fmt.Errorf("SMT Alignment Error: requested %d cpus not multiple cpus per core = %d", n, threads)}
	}
	if free := p.shared.Difference(p.reservedCores).Size(); n > free {
		return &numa.Refusal{Reason: reason, Err: fmt.Errorf("SMT Alignment Error: not enough free physical CPUs: "+
			"available physical CPUs = %d, requested CPUs = %d, CPUs per core = %d", free, n, threads)}
	}
	return nil
}
