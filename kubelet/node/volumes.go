package node

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// SetVolumesInUse says which volumes that can be attached the node uses. The API
// is told at once: before it knows, a volume may be detached at any time.
func (k *Keeper) SetVolumesInUse(names []v1.UniqueVolumeName) {
	k.mu.Lock()
	changed := k.inUse == nil || !slices.Equal(*k.inUse, names)
	k.inUse = &names
	k.mu.Unlock()
	if changed {
		k.Poke()
	}
}

// volumesInUse returns what was said last, or else what the status says.
func (k *Keeper) volumesInUse(old []v1.UniqueVolumeName) []v1.UniqueVolumeName {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.inUse == nil {
		return old
	}
	return *k.inUse
}
