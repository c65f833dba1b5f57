package numamem

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	told "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
)

// Equip binds a container about to be made to the nodes of its memory. Init containers
// before it have ended.
func (b *Bank) Equip(p *v1.Pod, container string, c *cri.ContainerConfig) {
	b.starts(p, container)
	b.mu.Lock()
	defer b.mu.Unlock()
	var from numa.Nodes
	for _, block := range b.blocks(p.UID, container) {
		from |= numa.NodesOf(block.NUMAAffinity...)
	}
	if from != 0 {
		c.Linux.Resources.CpusetMems = from.String()
	}
}

// Memory returns what a container has, for agents of the node.
func (b *Bank) Memory(uid types.UID, container string) []*told.ContainerMemory {
	b.mu.Lock()
	defer b.mu.Unlock()
	return tell(b.blocks(uid, container))
}

// Allocatable returns what the nodes have for containers, whether those have it or not.
func (b *Bank) Allocatable() []*told.ContainerMemory {
	var all []state.Block
	for _, id := range slices.Sorted(maps.Keys(b.whole)) {
		tables := b.whole[id].MemoryMap
		for _, name := range slices.Sorted(maps.Keys(tables)) {
			if n := tables[name].Allocatable; n > 0 {
				all = append(all, state.Block{NUMAAffinity: []int{id}, Type: name, Size: n})
			}
		}
	}
	return tell(all)
}

func tell(blocks []state.Block) []*told.ContainerMemory {
	var all []*told.ContainerMemory
	for _, block := range blocks {
		m := &told.ContainerMemory{MemoryType: string(block.Type), Size: block.Size, Topology: &told.TopologyInfo{}}
		for _, id := range block.NUMAAffinity {
			m.Topology.Nodes = append(m.Topology.Nodes, &told.NUMANode{ID: int64(id)})
		}
		all = append(all, m)
	}
	return all
}

// Counters are named as upstream's.
type counters struct{ requests, errors prometheus.Counter }

func newCounters() counters {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return counters{
		requests: counter("kubelet_memory_manager_pinning_requests_total", "Containers that were to get memory of their own."),
		errors:   counter("kubelet_memory_manager_pinning_errors_total", "Containers that could not be given memory of their own."),
	}
}

// Metrics returns what counts how often memory is given.
func (b *Bank) Metrics() []prometheus.Collector {
	return []prometheus.Collector{b.count.requests, b.count.errors}
}
