package csi

import "k8s.io/apimachinery/pkg/types"

// want notes that a pod is to have a volume, whether or not it comes to that.
// While it is, the volume stays staged: the next attempt may find it so.
func (d *Drivers) want(volume string, uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wanted[volume] == nil {
		d.wanted[volume] = map[types.UID]bool{}
	}
	d.wanted[volume][uid] = true
}

// unwant notes that a pod is to have no volumes any more.
func (d *Drivers) unwant(uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for volume, uids := range d.wanted {
		if delete(uids, uid); len(uids) == 0 {
			delete(d.wanted, volume)
		}
	}
}

// isWanted reports whether a pod is to have a volume.
func (d *Drivers) isWanted(volume string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.wanted[volume]) > 0
}
