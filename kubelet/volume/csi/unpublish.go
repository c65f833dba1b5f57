package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// Unpublish takes all volumes of a pod back, whoever published them, and from
// the node those that no other pod uses. Nothing of the pod may run any more.
// It may be called again; what the driver has not taken back is left as it is.
func (d *Drivers) Unpublish(ctx context.Context, uid types.UID) error {
	d.unwant(uid)
	all, err := d.publishedTo(uid)
	if err != nil {
		return fmt.Errorf("look for volumes of pod: %w", err)
	}
	var failed []error
	for _, p := range all {
		if err := d.unpublish(ctx, p); err != nil {
			failed = append(failed, fmt.Errorf("unmount volume %s: %w", p.SpecVolID, err))
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	d.leave(uid)
	return nil
}

// Has reports whether a pod has volumes that Unpublish is to take back.
func (d *Drivers) Has(uid types.UID) bool {
	all, err := d.publishedTo(uid)
	return err != nil || len(all) > 0
}

// leave ends the use of volumes that never came to be published.
func (d *Drivers) leave(uid types.UID) {
	for _, name := range d.InUse() {
		d.release(name, uid)
	}
}

// unpublish takes one volume back from a pod, and then from the node if nobody
// else uses it.
func (d *Drivers) unpublish(ctx context.Context, p published) error {
	done, err := d.turns.Take(ctx, p.key())
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := d.dial(ctx, p.DriverName)
	if err != nil {
		return err
	}
	defer c.close()
	target := filepath.Join(p.dir, mountDir)
	if p.block {
		target = d.blockPath(p.SpecVolID, p.uid)
	}
	if _, err := c.NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: p.VolumeHandle, TargetPath: target}); err != nil {
		return fmt.Errorf("NodeUnpublishVolume: %w", err)
	}
	if err := d.forgetPublished(p, target); err != nil {
		return err
	}
	d.release(p.unique(), p.uid)
	if p.VolumeLifecycleMode == ephemeral {
		return nil
	}
	return d.unstage(ctx, c, p.record)
}

// forgetPublished removes what the driver should have removed, and the record.
func (d *Drivers) forgetPublished(p published, target string) error {
	if err := removeTarget(target); err != nil {
		return err
	}
	if !p.block {
		return forget(p.dir)
	}
	global := filepath.Join(d.pluginDir(), devicesDir, escape(p.SpecVolID), "dev", string(p.uid))
	if err := removeTarget(global); err != nil { // upstream has one
		return err
	}
	if err := os.Remove(d.blockLink(p.uid, p.SpecVolID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeTarget removes a mount point, which a driver may have left behind, and
// never what is behind it.
func removeTarget(path string) error {
	err := os.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s, which the driver left: %w", path, err)
	}
	return os.Remove(path)
}

// used reports whether a pod has a volume, or is to have it.
func (d *Drivers) used(r record) (bool, error) {
	if d.isWanted(r.key()) {
		return true, nil
	}
	all, err := d.everywhere()
	return slices.ContainsFunc(all, func(p published) bool { return p.key() == r.key() }), err
}

// unstage takes a volume back from the node unless a pod has it. The caller has
// the turn of the volume.
func (d *Drivers) unstage(ctx context.Context, c *client, r record) error {
	used, err := d.used(r)
	if err != nil || used {
		return err
	}
	all, err := d.allStaged()
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.key() != r.key() {
			continue
		}
		if c.stages() {
			_, err := c.NodeUnstageVolume(ctx, &csi.NodeUnstageVolumeRequest{VolumeId: s.VolumeHandle, StagingTargetPath: s.path(d)})
			if err != nil {
				return fmt.Errorf("NodeUnstageVolume: %w", err)
			}
		}
		if err := d.forgetStaged(s); err != nil {
			return err
		}
	}
	d.release(r.unique(), stagedUser)
	return nil
}

// forgetStaged removes what the node has of a volume, but never what is behind
// a mount.
func (d *Drivers) forgetStaged(s staged) error {
	if err := removeTarget(s.path(d)); err != nil {
		return err
	}
	if err := forget(s.dir); err != nil {
		return err
	}
	if !s.block {
		return nil
	}
	name := escape(s.SpecVolID)
	for _, path := range []string{
		filepath.Join(d.pluginDir(), devicesDir, "publish", name),
		filepath.Join(d.pluginDir(), devicesDir, name, "dev"),
		filepath.Join(d.pluginDir(), devicesDir, name),
	} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Reap takes back from the node what is staged and no pod has: boot may have
// been away when the last went.
func (d *Drivers) Reap(ctx context.Context) error {
	all, err := d.allStaged()
	if err != nil {
		return fmt.Errorf("look for staged volumes: %w", err)
	}
	var failed []error
	for _, s := range all {
		if used, err := d.used(s.record); err != nil || used {
			failed = append(failed, err)
			continue
		}
		if err := d.reap(ctx, s); err != nil {
			failed = append(failed, fmt.Errorf("unmount device of volume %s: %w", s.VolumeHandle, err))
		}
	}
	return errors.Join(failed...)
}

func (d *Drivers) reap(ctx context.Context, s staged) error {
	done, err := d.turns.Take(ctx, s.key())
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c, err := d.dial(ctx, s.DriverName)
	if err != nil {
		return err
	}
	defer c.close()
	return d.unstage(ctx, c, s.record)
}

// blockPath returns where a device is published for a pod.
func (d *Drivers) blockPath(name string, uid types.UID) string {
	return filepath.Join(d.pluginDir(), devicesDir, "publish", escape(name), string(uid))
}

// blockLink returns the link that leads to it.
func (d *Drivers) blockLink(uid types.UID, name string) string {
	return filepath.Join(d.podsDir(), string(uid), devicesDir, podPlugin, escape(name))
}
