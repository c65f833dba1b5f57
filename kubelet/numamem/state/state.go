// Package state is the file in which a kubelet remembers from which NUMA nodes the
// containers have their memory. Its names of types and fields are upstream's, for they
// go into a checksum: either kubelet goes on from what the other wrote.
package state

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// A NUMANodeMap is how the memory of the nodes is shared out, by the node's number.
type NUMANodeMap map[int]*NUMANodeState

// A NUMANodeState is how the memory of one node is shared out.
type NUMANodeState struct {
	// NumberOfAssignments is how many blocks are of this node, whole or in part.
	NumberOfAssignments int `json:"numberOfAssignments"`
	// MemoryMap has the node's memory and its huge pages, by the resource's name.
	MemoryMap map[v1.ResourceName]*MemoryTable `json:"memoryMap"`
	// Cells are the nodes that give memory together with this one, itself among them.
	Cells []int `json:"cells"`
}

// A MemoryTable is how much there is of one resource, in bytes.
type MemoryTable struct {
	TotalMemSize   uint64 `json:"total"`
	SystemReserved uint64 `json:"systemReserved"`
	Allocatable    uint64 `json:"allocatable"` // to containers
	Reserved       uint64 `json:"reserved"`    // of that, for containers that have it
	Free           uint64 `json:"free"`        // of that, the rest
}

// A Block is what a container has of one resource.
type Block struct {
	NUMAAffinity []int           `json:"numaAffinity"` // its nodes
	Type         v1.ResourceName `json:"type"`
	Size         uint64          `json:"size"` // bytes
}

// ContainerMemoryAssignments are the blocks of containers, by the pod's UID and the
// container's name.
type ContainerMemoryAssignments map[string]map[string][]Block

// Clone returns a copy that shares nothing.
func (m NUMANodeMap) Clone() NUMANodeMap {
	all := NUMANodeMap{}
	for id, is := range m {
		n := *is
		n.Cells, n.MemoryMap = slices.Clone(is.Cells), maps.Clone(is.MemoryMap)
		for name, table := range n.MemoryMap {
			n.MemoryMap[name] = new(*table)
		}
		all[id] = &n
	}
	return all
}
