package csi

import (
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"
)

// ErrTaken says that another pod of the node has a volume that only one may have.
var ErrTaken = errors.New("volume uses the ReadWriteOncePod access mode and is already in use by another pod")

// OnePodOnly reports whether only one pod may have a volume at a time (KEP-2485).
// Where that is one of several access modes, nobody knows which of them a pod uses.
func OnePodOnly(pv *v1.PersistentVolume) bool {
	return slices.Equal(pv.Spec.AccessModes, []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod})
}

// checkTaken refuses a volume that only one pod may have if another has it, or may
// have it. The scheduler does so as well, for the pods that it places. The caller has
// the turn of the volume.
func (d *Drivers) checkTaken(v *volume) error {
	if !v.persistent() || !OnePodOnly(v.PV) {
		return nil
	}
	all, err := d.everywhere()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(p published) bool { return p.key() == v.key() && p.uid != v.Pod.UID }) {
		return ErrTaken
	}
	return nil
}
