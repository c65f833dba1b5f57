package numamem

import (
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
)

// possible returns from which sets of nodes what is asked for could come, where what is
// to be used again counts as free. Preferred are those of no more nodes than would be
// needed if nobody else had any.
func (b *Bank) possible(asks asks, again []state.Block) []numa.Hint {
	var every numa.Nodes
	for id := range b.nodes {
		every |= numa.NodesOf(id)
	}
	least := every.Len()
	var all []numa.Hint
	for set := range subsets(every) {
		if !b.enough(asks, set, func(t *state.MemoryTable) uint64 { return t.Allocatable }, nil) {
			continue
		}
		least = min(least, set.Len())
		if b.free(set) && b.enough(asks, set, leftOf, again) {
			all = append(all, numa.Hint{Nodes: set})
		}
	}
	for i := range all {
		all[i].Preferred = all[i].Nodes.Len() == least
	}
	return all
}

// subsets yields all sets of some of these nodes.
func subsets(of numa.Nodes) func(func(numa.Nodes) bool) {
	return func(yield func(numa.Nodes) bool) {
		for set := of & -of; set != 0; set = (set - of) & of {
			if !yield(set) {
				return
			}
		}
	}
}

func leftOf(t *state.MemoryTable) uint64 { return t.Free }

// enough reports whether nodes have as much as is asked for, by what each of them has.
func (b *Bank) enough(asks asks, from numa.Nodes, has func(*state.MemoryTable) uint64, again []state.Block) bool {
	for name, n := range asks {
		sum := sizeOf(again, from, name)
		for id := range from.IDs() {
			if t := b.nodes[id].MemoryMap[name]; t != nil {
				sum += has(t)
			}
		}
		if sum < n {
			return false
		}
	}
	return true
}

// free reports whether nodes may give memory together: each of them gives some with just
// these, or, if there are several, none at all.
func (b *Bank) free(set numa.Nodes) bool {
	for id := range set.IDs() {
		n := b.nodes[id]
		if group := numa.NodesOf(n.Cells...); group == set || set.Len() > 1 && n.NumberOfAssignments == 0 {
			continue
		}
		return false
	}
	return true
}

// sizeOf returns how many bytes blocks have that are of just these nodes.
func sizeOf(blocks []state.Block, of numa.Nodes, name v1.ResourceName) (sum uint64) {
	for _, block := range blocks {
		if block.Type == name && numa.NodesOf(block.NUMAAffinity...) == of {
			sum += block.Size
		}
	}
	return sum
}

// choose returns from which nodes a container gets what it asks for: those at which all
// it has should lie, with as many others as it takes.
func (b *Bank) choose(asks asks, again []state.Block, at numa.Hint) (numa.Nodes, error) {
	best := at
	if at.Nodes == 0 {
		var ok bool
		if best, ok = narrowest(b.possible(asks, again)); !ok {
			return 0, errors.New("[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available")
		}
		if at.Preferred && !best.Preferred {
			return 0, errors.New("[memorymanager] failed to find the default preferred hint")
		}
	}
	if !b.enough(asks, best.Nodes, leftOf, nil) {
		wider, ok := narrowest(slices.DeleteFunc(b.possible(asks, again), func(h numa.Hint) bool { return !best.Nodes.Within(h.Nodes) }))
		if !ok {
			return 0, errors.New("[memorymanager] failed to find NUMA nodes to extend the current topology hint")
		}
		if best.Preferred && !wider.Preferred {
			return 0, errors.New("[memorymanager] failed to find the extended preferred hint")
		}
		best = wider
	}
	if best.Nodes.Len() > 1 && !b.free(best.Nodes) {
		return 0, errors.New("[memorymanager] preferred hint violates NUMA node allocation")
	}
	return best.Nodes, nil
}

// narrowest returns the best placement of all, one that is preferred if there is any.
func narrowest(all []numa.Hint) (best numa.Hint, ok bool) {
	for i, h := range all {
		if i == 0 || h.Preferred && !best.Preferred || h.Preferred == best.Preferred && h.Nodes.Narrower(best.Nodes) {
			best = h
		}
	}
	return best, len(all) > 0
}
