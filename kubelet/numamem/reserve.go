package numamem

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/hint"
	"boot.internal/kubelet/numa"
)

// Reserved is how many bytes of the nodes nobody is given, by node and resource.
type Reserved map[int]map[v1.ResourceName]uint64

// Reserve returns how reservedMemory has the nodes share what the node keeps from pods
// as a whole: systemReserved, kubeReserved and what hard eviction keeps free. Both must
// come to the same, and be more than nothing.
func Reserve(nodes []numa.Node, kept v1.ResourceList, by []kubeletv1beta1.MemoryReservation) (Reserved, error) {
	all, total := Reserved{}, v1.ResourceList{}
	for _, r := range by {
		id := int(r.NumaNode)
		if !slices.ContainsFunc(nodes, func(n numa.Node) bool { return n.ID == id }) {
			return nil, refused("the reserved memory configuration references a NUMA node %d that does not exist on this machine", id)
		}
		if all[id] == nil {
			all[id] = map[v1.ResourceName]uint64{}
		}
		for name, q := range r.Limits {
			n, whole := q.AsInt64()
			if !whole {
				return nil, errors.New("could not covert a variable of type Quantity to int64")
			}
			all[id][name] = uint64(n)
			q.Add(total[name])
			total[name] = q
		}
	}
	return all, checkReserved(kept, total)
}

func checkReserved(kept, total v1.ResourceList) error {
	names := maps.Clone(total)
	maps.Copy(names, kept)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		is, should := total[name], kept[name]
		if isMemory(name) && !is.Equal(should) {
			return refused("the total amount %q of type %q is not equal to the value %q determined by Node Allocatable feature", is.String(), name, should.String())
		}
	}
	if total.Memory().IsZero() {
		return refused("[memorymanager] you should specify the system reserved memory")
	}
	return nil
}

func refused(format string, args ...any) error {
	return hint.With(fmt.Errorf(format, args...), "write into reservedMemory how much of systemReserved, kubeReserved and memory.available of evictionHard, taken together, each NUMA node is to keep")
}
