package volume

import (
	"context"
	"errors"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/volume/csi"
	"boot.internal/nstest"
)

// A local volume that only one pod may have is refused to a second, until the first
// has it no longer.
func TestLocalOnePodOnly(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNS)
	for name, tc := range map[string]struct {
		path func(*testing.T) string
		mode v1.PersistentVolumeMode
	}{
		"directory":    {path: (*testing.T).TempDir, mode: v1.PersistentVolumeFilesystem},
		"block device": {path: blockDevice, mode: v1.PersistentVolumeBlock},
	} {
		t.Run(name, func(t *testing.T) {
			pvc, pv := boundTo(localVolume(tc.path(t)))
			pv.Spec.VolumeMode, pv.Spec.AccessModes = &tc.mode, []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}
			v := newVolumes(t)
			withAPI(t, v, pvc, pv)
			setup := func(uid types.UID) error {
				p := newPod(claimVolume(false))
				p.UID = uid
				if c := &p.Spec.Containers[0]; tc.mode == v1.PersistentVolumeBlock {
					c.VolumeMounts, c.VolumeDevices = nil, []v1.VolumeDevice{{Name: "v", DevicePath: "/dev/x"}}
				}
				_, err := v.Setup(t.Context(), p)
				return err
			}
			for _, uid := range []types.UID{"a", "b"} {
				t.Cleanup(func() { _ = v.Teardown(context.WithoutCancel(t.Context()), uid) }) // what a failure left
			}
			if err := errors.Join(setup("a"), setup("a")); err != nil {
				t.Fatal(err)
			}
			if err := setup("b"); !errors.Is(err, csi.ErrTaken) {
				t.Errorf("error %v", err)
			}
			if err := v.Release(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if err := setup("b"); err != nil {
				t.Error(err)
			}
		})
	}
}
