package csi

import (
	"os"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

func TestGroup(t *testing.T) {
	policies := func(p storagev1.FSGroupPolicy) *storagev1.CSIDriver {
		return newDriver(func(s *storagev1.CSIDriverSpec) { s.FSGroupPolicy = &p })
	}
	for name, tc := range map[string]struct {
		driver *storagev1.CSIDriver
		change func(*Request)
		want   bool
	}{
		"default":          {policies(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), func(*Request) {}, true},
		"none":             {policies(storagev1.NoneFSGroupPolicy), func(*Request) {}, false},
		"without type":     {policies(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), func(r *Request) { r.PV.Spec.CSI.FSType = "" }, false},
		"file, no type":    {policies(storagev1.FileFSGroupPolicy), func(r *Request) { r.PV.Spec.CSI.FSType = "" }, true},
		"shared":           {policies(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), func(r *Request) { r.PV.Spec.AccessModes[0] = v1.ReadWriteMany }, false},
		"read-only":        {policies(storagev1.FileFSGroupPolicy), func(r *Request) { r.ReadOnly = true }, false},
		"no group":         {policies(storagev1.FileFSGroupPolicy), func(r *Request) { r.Pod.Spec.SecurityContext = nil }, false},
		"of a single pod":  {policies(storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy), func(r *Request) { r.PV.Spec.AccessModes[0] = v1.ReadWriteOncePod }, true},
		"to a device none": {policies(storagev1.FileFSGroupPolicy), func(r *Request) { r.Block = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.driver)
			r := Request{Pod: newPod("a"), PV: newPV("v1")}
			r.Pod.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(3000))}
			tc.change(&r)
			v, err := w.volume(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := v.takesGroup(); err != nil || got != tc.want {
				t.Errorf("takes the group: %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

// A driver that can is told the group, and boot leaves it to it.
func TestGroupOfDriver(t *testing.T) {
	w := newWorld(t, newDriver())
	w.driver.can = append(w.driver.can, csi.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP)
	p := newPod("a")
	p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: new(int64(3000))}
	vol := w.mustPublish(Request{Pod: p, PV: newPV("v1")})
	for _, c := range []*csi.VolumeCapability{w.driver.stage.VolumeCapability, w.driver.publish.VolumeCapability} {
		if got := c.GetMount().VolumeMountGroup; got != "3000" {
			t.Errorf("the driver was told group %q", got)
		}
	}
	if fi, err := os.Stat(vol.Path); err != nil || fi.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
}

func TestAccessModes(t *testing.T) {
	plain, exact := &client{}, &client{can: map[csi.NodeServiceCapability_RPC_Type]bool{csi.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER: true}}
	for mode, want := range map[v1.PersistentVolumeAccessMode][2]csi.VolumeCapability_AccessMode_Mode{
		v1.ReadWriteOnce:    {csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER},
		v1.ReadWriteOncePod: {csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER, csi.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER},
		v1.ReadOnlyMany:     {csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY, csi.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY},
		v1.ReadWriteMany:    {csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER},
		"Other":             {csi.VolumeCapability_AccessMode_UNKNOWN, csi.VolumeCapability_AccessMode_UNKNOWN},
	} {
		if got := [2]csi.VolumeCapability_AccessMode_Mode{plain.accessMode(mode), exact.accessMode(mode)}; got != want {
			t.Errorf("%s is %v, want %v", mode, got, want)
		}
	}
}
