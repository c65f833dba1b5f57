package node

import v1 "k8s.io/api/core/v1"

// Resources returns what the machine has, and what of it is for pods. What
// could be found out is returned with the error.
func (k *Keeper) Resources() (capacity, allocatable v1.ResourceList, err error) {
	f, err := k.o.Machine.Facts()
	var s v1.NodeStatus
	k.setCapacity(&s, f)
	return s.Capacity, s.Allocatable, err
}
