package numamem

import (
	"errors"
	"fmt"
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
)

// tables returns what the nodes have for containers. Huge pages are taken from the
// memory for good.
func tables(nodes []numa.Node, reserved Reserved) (state.NUMANodeMap, error) {
	all := state.NUMANodeMap{}
	for _, n := range nodes {
		is := &state.NUMANodeState{MemoryMap: map[v1.ResourceName]*state.MemoryTable{}, Cells: []int{n.ID}}
		var huge uint64
		for size, pages := range n.Pages {
			name := v1.ResourceHugePagesPrefix + resource.NewQuantity(int64(size), resource.BinarySI).String()
			if err := addTable(is, n.ID, v1.ResourceName(name), size*pages, 0, reserved); err != nil {
				return nil, err
			}
			huge += size * pages
		}
		if err := addTable(is, n.ID, v1.ResourceMemory, n.Memory, huge, reserved); err != nil {
			return nil, err
		}
		all[n.ID] = is
	}
	return all, nil
}

// addTable adds a resource to a node, of which a part is not for containers beside what
// is reserved.
func addTable(is *state.NUMANodeState, node int, name v1.ResourceName, total, part uint64, reserved Reserved) error {
	kept := reserved[node][name]
	if kept+part > total {
		return fmt.Errorf("reserve memory of NUMA node %d: it has %d bytes of %s, %d of them as huge pages, and %d are to be reserved", node, total, name, part, kept)
	}
	left := total - part - kept
	is.MemoryMap[name] = &state.MemoryTable{TotalMemSize: total, SystemReserved: kept, Allocatable: left, Free: left}
	return nil
}

// known reports a block of nodes or resources that there are not.
func known(nodes state.NUMANodeMap, block state.Block) error {
	for _, id := range block.NUMAAffinity {
		if nodes[id] == nil {
			return errors.New("the memory assignment uses the NUMA that does not exist")
		}
		if nodes[id].MemoryMap[block.Type] == nil {
			return errors.New("the memory assignment uses memory resource that does not exist")
		}
	}
	return nil
}

// take takes a block from its nodes, which are a group from then on: as much as there
// is from the first, the rest from the next.
func take(nodes state.NUMANodeMap, block state.Block) {
	left := block.Size
	for _, id := range block.NUMAAffinity {
		n := nodes[id]
		n.NumberOfAssignments++
		n.Cells = block.NUMAAffinity
		if t := n.MemoryMap[block.Type]; t != nil {
			part := min(t.Free, left)
			t.Free, t.Reserved, left = t.Free-part, t.Reserved+part, left-part
		}
	}
}

// giveBack gives a block back to its nodes. Those of which nobody has any more are of no
// group.
func giveBack(nodes state.NUMANodeMap, block state.Block) {
	left := block.Size
	for _, id := range block.NUMAAffinity {
		n := nodes[id]
		if n.NumberOfAssignments--; n.NumberOfAssignments == 0 {
			n.Cells = []int{id}
		}
		if t := n.MemoryMap[block.Type]; t != nil {
			part := min(t.Reserved, left)
			t.Free, t.Reserved, left = t.Free+part, t.Reserved-part, left-part
		}
	}
}

// sameNode reports whether a node is as it should be. How much of it is left is not
// compared: that depends on who of a group came and went first.
func sameNode(is, should *state.NUMANodeState) bool {
	return is.NumberOfAssignments == should.NumberOfAssignments && maps.EqualFunc(is.MemoryMap, should.MemoryMap, func(a, b *state.MemoryTable) bool {
		return a.TotalMemSize == b.TotalMemSize && a.SystemReserved == b.SystemReserved && a.Allocatable == b.Allocatable
	})
}
