package node

import (
	"maps"

	v1 "k8s.io/api/core/v1"
)

// SetDevices says how many devices of each resource the node has, and how many
// of those pods may have. A resource that is not named any more is what others
// make of it.
func (k *Keeper) SetDevices(capacity, allocatable v1.ResourceList) {
	k.mu.Lock()
	k.devices = v1.NodeStatus{Capacity: capacity, Allocatable: allocatable}
	k.mu.Unlock()
	k.Poke()
}

// addDevices puts the devices into a status.
func (k *Keeper) addDevices(s *v1.NodeStatus) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(s.Capacity, k.devices.Capacity)
	maps.Copy(s.Allocatable, k.devices.Allocatable)
}
