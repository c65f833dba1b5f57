package evict

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Disk is what something uses of a file system.
type Disk struct{ Bytes, Inodes int64 }

func (d Disk) add(o Disk) Disk { return Disk{d.Bytes + o.Bytes, d.Inodes + o.Inodes} }

// of returns the bytes or the inodes.
func (d Disk) of(what v1.ResourceName) int64 {
	if what == inodes {
		return d.Inodes
	}
	return d.Bytes
}

// A ContainerUsage is what one container uses.
type ContainerUsage struct {
	Memory int64 // working set, bytes
	Layer  Disk  // what it wrote beside volumes
	Logs   Disk
}

// A Usage is what one pod uses. What could not be measured is 0.
type Usage struct {
	Memory     int64 // working set, bytes
	Processes  int64
	Containers map[string]ContainerUsage
	Volumes    map[string]Disk
	Storage    int64 // bytes of local storage in all: layers, logs, volumes of the pod's own
}

// Usages are those of pods by UID. A pod of which nothing is known is missing.
type Usages map[types.UID]Usage

// disk adds up what of a pod is on a file system.
func (u Usage) disk(p *v1.Pod, s share) Disk {
	var sum Disk
	for _, c := range u.Containers {
		if s.layers {
			sum = sum.add(c.Layer)
		}
		if s.logs {
			sum = sum.add(c.Logs)
		}
	}
	for i := range p.Spec.Volumes {
		if v := &p.Spec.Volumes[i]; s.volumes && isLocal(v) {
			sum = sum.add(u.Volumes[v.Name])
		}
	}
	return sum
}

// isLocal reports whether a volume counts as disk that a pod uses of the node.
func isLocal(v *v1.Volume) bool {
	return v.HostPath != nil || v.ConfigMap != nil || v.EmptyDir != nil && v.EmptyDir.Medium == v1.StorageMediumDefault
}
