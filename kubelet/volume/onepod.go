package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/volume/csi"
)

// checkTaken refuses a local volume that only one pod may have if another has it.
// Target is where the pod of the UID is to have it; others have theirs in the same
// place of their own directories. The caller has the turn of the volume.
func (v *Volumes) checkTaken(pv *v1.PersistentVolume, uid types.UID, target string) error {
	if !csi.OnePodOnly(pv) {
		return nil
	}
	place, err := filepath.Rel(v.podDir(uid), target)
	if err != nil {
		return err
	}
	pods, err := os.ReadDir(v.PodsDir)
	if err != nil {
		return err
	}
	for _, e := range pods {
		if e.Name() == string(uid) {
			continue
		}
		_, err := os.Lstat(filepath.Join(v.PodsDir, e.Name(), place))
		if err == nil {
			return csi.ErrTaken
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
