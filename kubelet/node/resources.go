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

// Kept returns what of the machine pods are not given: what is reserved, and what is
// kept free by evicting them at once. Resources of which that is nothing are not in it.
func (k *Keeper) Kept() (v1.ResourceList, error) {
	f, err := k.o.Machine.Facts()
	var s v1.NodeStatus
	k.setCapacity(&s, f)
	kept := v1.ResourceList{}
	for name, capacity := range s.Capacity {
		q := k.reserved[name].DeepCopy()
		for _, t := range k.eviction {
			if t.resource == name {
				q.Add(t.of(capacity))
			}
		}
		if !q.IsZero() {
			kept[name] = q
		}
	}
	return kept, err
}
