package manifest

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
)

// defaultVolume fills in a volume. Kinds of volumes that a static pod may not
// have (SP-28) are left as they are: they are refused anyway.
func defaultVolume(v *v1.VolumeSource) {
	if *v == (v1.VolumeSource{}) {
		v.EmptyDir = &v1.EmptyDirVolumeSource{}
	}
	if v.Image != nil {
		v.Image.PullPolicy = cmp.Or(v.Image.PullPolicy, pullPolicy(v.Image.Reference))
	}
	if v.HostPath != nil {
		setDefault(&v.HostPath.Type, v1.HostPathUnset)
	}
	if v.DownwardAPI != nil {
		setDefault(&v.DownwardAPI.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		defaultItems(v.DownwardAPI.Items)
	}
	if v.Projected != nil {
		defaultProjected(v.Projected)
	}
	defaultNetworkVolume(v)
	if v.AzureDisk != nil {
		defaultAzureDisk(v.AzureDisk)
	}
}

func defaultProjected(p *v1.ProjectedVolumeSource) {
	setDefault(&p.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		if d := p.Sources[i].DownwardAPI; d != nil {
			defaultItems(d.Items)
		}
	}
}

func defaultItems(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		defaultFieldRef(items[i].FieldRef)
	}
}

func defaultNetworkVolume(v *v1.VolumeSource) {
	if v.ISCSI != nil {
		v.ISCSI.ISCSIInterface = cmp.Or(v.ISCSI.ISCSIInterface, "default")
	}
	if v.RBD != nil {
		v.RBD.RBDPool = cmp.Or(v.RBD.RBDPool, "rbd")
		v.RBD.RadosUser = cmp.Or(v.RBD.RadosUser, "admin")
		v.RBD.Keyring = cmp.Or(v.RBD.Keyring, "/etc/ceph/keyring")
	}
	if v.ScaleIO != nil {
		v.ScaleIO.StorageMode = cmp.Or(v.ScaleIO.StorageMode, "ThinProvisioned")
		v.ScaleIO.FSType = cmp.Or(v.ScaleIO.FSType, "xfs")
	}
}

func defaultAzureDisk(d *v1.AzureDiskVolumeSource) {
	setDefault(&d.CachingMode, v1.AzureDataDiskCachingReadWrite)
	setDefault(&d.FSType, "ext4")
	setDefault(&d.ReadOnly, false)
	setDefault(&d.Kind, v1.AzureSharedBlobDisk)
}
