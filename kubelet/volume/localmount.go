package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"
	utilexec "k8s.io/utils/exec"
)

// localMounts returns where file systems of local devices are mounted once for all
// pods, below the kubelet's directory; upstream has them there.
func (v *Volumes) localMounts() string {
	return filepath.Join(filepath.Dir(v.PodsDir), "plugins/kubernetes.io/local-volume/mounts")
}

// defaultFileSystem is what a device without one is formatted with.
const defaultFileSystem = "ext4"

// bindLocal mounts source at target with the options of the PersistentVolume.
func bindLocal(source, target string, c claim) error {
	options := []string{"bind"}
	if c.readOnly {
		options = append(options, "ro")
	}
	options = append(options, c.pv.Spec.MountOptions...)
	if err := mount.New("").MountSensitiveWithoutSystemd(source, target, "", options, nil); err != nil {
		_ = os.Remove(target) // not if it is mounted after all
		return fmt.Errorf("mount %s at %s: %w", source, target, err)
	}
	return nil
}

// localFileSystem mounts the file system on a local device, which is made if
// there is none, and returns where.
func (v *Volumes) localFileSystem(c claim) (string, error) {
	device := c.pv.Spec.Local.Path
	target := filepath.Join(v.localMounts(), c.pv.Name)
	if there, err := mountedAt(target); err != nil || there {
		return target, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return "", err
	}
	kind := defaultFileSystem
	if c.pv.Spec.Local.FSType != nil {
		kind = *c.pv.Spec.Local.FSType
	}
	var options []string
	if c.readOnly {
		options = append(options, "ro")
	}
	options = append(options, c.pv.Spec.MountOptions...)
	m := mount.NewSafeFormatAndMount(mount.New(""), utilexec.New())
	if err := m.FormatAndMount(device, target, kind, options); err != nil {
		_ = os.Remove(target)
		return "", fmt.Errorf("local: failed to mount device %s at %s (fstype: %s), error %w", device, target, kind, err)
	}
	return target, nil
}

// unmountDevices unmounts the file systems of local devices that no pod uses.
func (v *Volumes) unmountDevices(ctx context.Context) error {
	entries, err := os.ReadDir(v.localMounts())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list mounts of local devices: %w", err)
	}
	var failed []error
	for _, e := range entries {
		failed = append(failed, v.unmountDevice(ctx, e.Name()))
	}
	return errors.Join(failed...)
}

func (v *Volumes) unmountDevice(ctx context.Context, pv string) error {
	done, err := v.turns.Take(ctx, pv)
	if err != nil {
		return err
	}
	defer done()
	dir := filepath.Join(v.localMounts(), pv)
	if there, err := mountedAt(dir); err != nil {
		return err
	} else if there {
		used, err := v.mountedByOthers(dir, "")
		if err != nil || used {
			return err
		}
		if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
