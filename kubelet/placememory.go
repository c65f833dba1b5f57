package kubelet

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	agents "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem"
	"boot.internal/kubelet/status"
)

// memoryState is where it is written down which memory pods have for themselves.
func (k *kubelet) memoryState() string { return filepath.Join(k.o.RootDir, "memory_manager_state") }

// checkMemory returns an error where no memory is given to containers, but was.
func (k *kubelet) checkMemory() error {
	if k.o.Config.MemoryManagerPolicy == kubeletv1beta1.StaticMemoryManagerPolicy {
		return nil // who gives memory looks for itself
	}
	if err := numamem.CheckUnused(k.memoryState()); err != nil {
		return fmt.Errorf("memory manager: %w", err)
	}
	return nil
}

// newMemory adds who gives pods memory, where that is configured.
func (k *kubelet) newMemory() error {
	c := k.o.Config
	if c.MemoryManagerPolicy != kubeletv1beta1.StaticMemoryManagerPolicy {
		return nil
	}
	kept, err := k.node.Kept()
	if err != nil {
		return fmt.Errorf("memory manager: %w", err)
	}
	nodes := k.nodesWithMemory()
	reserved, err := numamem.Reserve(nodes, kept, c.ReservedMemory)
	if err != nil {
		return fmt.Errorf("memory manager: %w", err)
	}
	k.places.memory, err = numamem.New(numamem.Options{
		Path: k.memoryState(), Nodes: nodes, Reserved: reserved, QOS: status.QOSClass, Log: k.o.Logger,
	})
	if err != nil {
		return fmt.Errorf("memory manager: %w", err)
	}
	k.places.owners = append(k.places.owners, k.places.memory)
	return nil
}

// nodesWithMemory returns the nodes of the machine. Where the kernel does not say what
// they have, there is one, and it has all.
func (k *kubelet) nodesWithMemory() []numa.Node {
	nodes := slices.Clone(k.places.machine.Nodes)
	if len(nodes) == 1 && nodes[0].Memory == 0 {
		nodes[0].Memory = uint64(k.facts.Memory)
	}
	return nodes
}

// tell adds to what agents of the node are told of a container what it has for itself.
func (p *places) tell(of *v1.Pod, container string, to *agents.ContainerResources) {
	if p == nil {
		return
	}
	if p.cpus != nil {
		to.CpuIds = p.cpus.IDs(of.UID, container)
	}
	if p.memory != nil {
		to.Memory = p.memory.Memory(of.UID, container)
	}
}

// tellAll adds what there is for containers.
func (p *places) tellAll(to *agents.AllocatableResourcesResponse) {
	if p == nil {
		return
	}
	if p.cpus != nil {
		to.CpuIds = p.cpus.Allocatable()
	}
	if p.memory != nil {
		to.Memory = p.memory.Allocatable()
	}
}

// figures returns what counts how often CPUs and memory are given.
func (p *places) figures() []prometheus.Collector {
	var all []prometheus.Collector
	if p != nil && p.cpus != nil {
		all = p.cpus.Metrics()
	}
	if p != nil && p.memory != nil {
		all = append(all, p.memory.Metrics()...)
	}
	return all
}
