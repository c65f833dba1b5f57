package csi

import (
	"log/slog"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// stagedUser stands for the node itself among the users of a volume.
const stagedUser = types.UID("")

// restore finds out what an earlier process has left. Whether these volumes had
// to be attached is not known without the API, so all of them count.
func (d *Drivers) restore() {
	published, err := d.everywhere()
	if err != nil {
		d.o.Log.Warn("look for volumes that are published", slog.Any("err", err))
	}
	staged, err := d.allStaged()
	if err != nil {
		d.o.Log.Warn("look for volumes that are staged", slog.Any("err", err))
	}
	for _, p := range published {
		if p.VolumeLifecycleMode != ephemeral {
			d.use(p.unique(), p.uid)
		}
	}
	for _, s := range staged {
		d.use(s.unique(), stagedUser)
	}
}

// use notes a user of a volume.
func (d *Drivers) use(name v1.UniqueVolumeName, uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	users, known := d.users[name]
	if !known {
		users = map[types.UID]bool{}
		d.users[name] = users
	}
	users[uid] = true
	if !known {
		d.tellInUse()
	}
}

// release notes that a volume is not used any more. While nothing uses it, it
// may be detached.
func (d *Drivers) release(name v1.UniqueVolumeName, uid types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	users, known := d.users[name]
	delete(users, uid)
	if known && len(users) == 0 {
		delete(d.users, name)
		d.tellInUse()
	}
}

// tellInUse tells which volumes are used. mu is held.
func (d *Drivers) tellInUse() { d.o.InUse(slices.Sorted(maps.Keys(d.users))) }

// InUse returns the volumes that the node uses.
func (d *Drivers) InUse() []v1.UniqueVolumeName {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.users))
}
