package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/csi"
	"boot.internal/kubelet/volume/owner"
)

// persistent makes the volume of a claim ready for the pod.
func (v *Volumes) persistent(ctx context.Context, p *v1.Pod, c claim) (pod.Volume, error) {
	switch src := c.pv.Spec.PersistentVolumeSource; {
	case src.CSI != nil:
		r := csi.Request{Pod: p, PV: c.pv, ReadOnly: c.readOnly, Block: c.block}
		made, err := v.CSI.Publish(ctx, r)
		if err == nil { // it may have been given a larger size while no pod had it
			err = v.CSI.Expand(ctx, r, c.pvc, made)
		}
		return made, err
	case src.HostPath != nil && !c.block:
		return pod.Volume{Path: src.HostPath.Path, ReadOnly: c.readOnly}, checkHostPath(src.HostPath)
	case src.Local != nil && c.block:
		return v.localDevice(ctx, p, c)
	case src.Local != nil:
		return v.localDir(ctx, p, c)
	default:
		return pod.Volume{}, fmt.Errorf("no volume plugin matched for PersistentVolume %s of kind %s", c.pv.Name, onlyField(src))
	}
}

// localDevice gives the pod a block device of the node, by a link that names
// it for as long as the pod lives.
func (v *Volumes) localDevice(ctx context.Context, p *v1.Pod, c claim) (pod.Volume, error) {
	done, err := v.turns.Take(ctx, c.pv.Name)
	if err != nil {
		return pod.Volume{}, err
	}
	defer done()
	device := c.pv.Spec.Local.Path
	fi, err := os.Stat(device)
	if err != nil {
		return pod.Volume{}, err
	}
	if fi.Mode()&fs.ModeDevice == 0 || fi.Mode()&fs.ModeCharDevice != 0 {
		return pod.Volume{}, fmt.Errorf("%s is not a block device", device)
	}
	link := filepath.Join(v.podDir(p.UID), devicesDir, "kubernetes.io~local-volume", c.pv.Name)
	if err := v.checkTaken(c.pv, p.UID, link); err != nil {
		return pod.Volume{}, err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o750); err != nil {
		return pod.Volume{}, err
	}
	if have, err := os.Readlink(link); err == nil && have != device {
		if err := os.Remove(link); err != nil {
			return pod.Volume{}, err
		}
	}
	if err := os.Symlink(device, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return pod.Volume{}, err
	}
	return pod.Volume{Device: link, ReadOnly: c.readOnly}, nil
}

// localDir mounts a directory of the node, or the file system on a device of
// it, in the directory of the pod: a mount for each pod, so that each can be
// read-only or not.
func (v *Volumes) localDir(ctx context.Context, p *v1.Pod, c claim) (pod.Volume, error) {
	done, err := v.turns.Take(ctx, c.pv.Name)
	if err != nil {
		return pod.Volume{}, err
	}
	defer done()
	target := v.path(p.UID, "local-volume", c.pv.Name)
	if err := v.checkTaken(c.pv, p.UID, target); err != nil {
		return pod.Volume{}, err
	}
	source, err := v.localSource(c)
	if err != nil {
		return pod.Volume{}, err
	}
	if there, err := mountedAt(target); err != nil || there {
		return pod.Volume{Path: target, ReadOnly: c.readOnly}, err
	}
	shared, err := v.mountedByOthers(source, p.UID)
	if err != nil {
		return pod.Volume{}, err
	}
	if err := os.MkdirAll(target, 0o750); err != nil {
		return pod.Volume{}, err
	}
	if err := bindLocal(source, target, c); err != nil {
		return pod.Volume{}, err
	}
	if !c.readOnly && !shared {
		if err := v.own(ctx, p, target); err != nil {
			return pod.Volume{}, errors.Join(err, unix.Unmount(target, unix.UMOUNT_NOFOLLOW))
		}
	} else if shared {
		v.warnOfGroup(p, c.pv.Name, source)
	}
	return pod.Volume{Path: target, ReadOnly: c.readOnly}, nil
}

// localSource returns the directory that is the volume on the node.
func (v *Volumes) localSource(c claim) (string, error) {
	path := c.pv.Spec.Local.Path
	if slices.Contains(strings.Split(path, "/"), "..") {
		return "", fmt.Errorf("invalid path: %s must not contain '..'", path)
	}
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("path %q does not exist", path)
	case err != nil:
		return "", err
	case fi.IsDir():
		return path, nil
	case fi.Mode()&fs.ModeDevice != 0 && fi.Mode()&fs.ModeCharDevice == 0:
		return v.localFileSystem(c)
	default:
		return "", errors.New("only directory and block device are supported")
	}
}

// mountedByOthers reports whether another pod has source mounted.
func (v *Volumes) mountedByOthers(source string, but types.UID) (bool, error) {
	pods, err := filepath.EvalSymlinks(v.PodsDir)
	if err != nil {
		return false, err
	}
	from, err := os.Stat(source)
	if err != nil {
		return false, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(pods))
	if err != nil {
		return false, err
	}
	for _, m := range mounts {
		if !strings.Contains(m.Mountpoint, "/volumes/kubernetes.io~local-volume/") || strings.HasPrefix(m.Mountpoint, filepath.Join(pods, string(but))+"/") {
			continue
		}
		if fi, err := os.Stat(m.Mountpoint); err == nil && os.SameFile(from, fi) {
			return true, nil
		}
	}
	return false, nil
}

// own gives a volume to the pod's group.
func (v *Volumes) own(ctx context.Context, p *v1.Pod, dir string) error {
	group := fsGroup(p)
	if group == nil {
		return nil
	}
	name, err := filepath.Rel(v.PodsDir, dir)
	if err != nil {
		return err
	}
	err = owner.Apply(ctx, owner.Change{
		Dir: dir, Group: *group, Policy: p.Spec.SecurityContext.FSGroupChangePolicy, Name: name,
		Progress: func(message string) { v.Event(p, v1.EventTypeWarning, "VolumePermissionChangeInProgress", message) },
	})
	if err != nil {
		return fmt.Errorf("applyFSGroup failed: %w", err)
	}
	return nil
}

// warnOfGroup says that a volume has another group already, which another pod
// asked for.
func (v *Volumes) warnOfGroup(p *v1.Pod, name, source string) {
	var st unix.Stat_t
	group := fsGroup(p)
	if group == nil || unix.Stat(source, &st) != nil || int64(st.Gid) == *group {
		return
	}
	v.Event(p, v1.EventTypeWarning, "AlreadyMountedVolume", fmt.Sprintf(
		"The requested fsGroup is %d, but the volume %s has GID %d. The volume may not be shareable.", *group, name, st.Gid))
}
