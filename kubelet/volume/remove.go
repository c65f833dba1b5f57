package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"
)

// Teardown removes the directory of a pod none of whose containers runs, with
// everything in it. What the containers left there is not trusted: no symbolic
// link is followed, and nothing is deleted through a mount. What drivers have
// mounted they are asked to take back; until they have, it all stays.
func (v *Volumes) Teardown(ctx context.Context, uid types.UID) error {
	if err := checkElement(string(uid)); err != nil {
		return fmt.Errorf("remove pod directory: %w", err)
	}
	// The mount table holds real paths.
	parent, err := filepath.EvalSymlinks(v.PodsDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove pod directory: %w", err)
	}
	defer v.filled.forget(uid)()
	dir := filepath.Join(parent, string(uid))
	if err := v.unmount(ctx, dir, uid); err != nil {
		return err
	}
	if err := removeTree(parent, string(uid)); err != nil {
		return fmt.Errorf("remove pod directory %s: %w", dir, err)
	}
	return nil
}

// Release removes the volumes of a pod none of whose containers runs or will,
// and leaves the rest of its directory: the API still knows the pod, and what it
// said at its end is in there.
func (v *Volumes) Release(ctx context.Context, uid types.UID) error {
	if err := checkElement(string(uid)); err != nil {
		return fmt.Errorf("release volumes: %w", err)
	}
	dir, err := filepath.EvalSymlinks(v.podDir(uid)) // the mount table holds real paths
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("release volumes: %w", err)
	}
	defer v.filled.forget(uid)()
	if err := v.unmount(ctx, dir, uid); err != nil {
		return err
	}
	for _, name := range []string{subPathsDir, volumesDir, devicesDir} {
		if err := removeTree(dir, name); err != nil {
			return fmt.Errorf("release volumes in %s: %w", dir, err)
		}
	}
	return nil
}

// unmount takes away whatever is mounted in the directory of a pod: parts of
// volumes first, which would keep the volumes busy, then what is a driver's,
// then the rest.
func (v *Volumes) unmount(ctx context.Context, dir string, uid types.UID) error {
	done, err := v.podTurn(ctx, uid)
	if err != nil {
		return err
	}
	defer done()
	v.kept.forget(uid)
	if err := unmountBelow(filepath.Join(dir, subPathsDir)); err != nil {
		return err
	}
	if v.CSI != nil {
		if err := v.CSI.Unpublish(ctx, uid); err != nil {
			return err
		}
	}
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return v.unmountDevices(ctx)
}

// Reap removes the directories of all pods but those wanted: what was left by
// pods that went while boot was away. What takes a driver goes on beside the
// caller.
func (v *Volumes) Reap(ctx context.Context, wanted func() map[types.UID]bool) error {
	entries, err := os.ReadDir(v.PodsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list pod directories: %w", err)
	}
	keep := wanted() // what is wanted later has no directory among these
	var failed []error
	for _, e := range entries {
		uid := types.UID(e.Name())
		if keep[uid] || !e.IsDir() {
			continue
		}
		remove := func() error {
			v.Logger.Info("removing directory of a pod that is gone", slog.String("uid", e.Name()))
			return v.Teardown(ctx, uid)
		}
		if v.CSI != nil && v.CSI.Has(uid) {
			v.beside(e.Name(), remove)
			continue
		}
		failed = append(failed, remove())
	}
	if v.CSI != nil {
		v.beside("", func() error { return v.CSI.Reap(ctx) })
	}
	return errors.Join(failed...)
}

// unmountBelow takes away every mount in dir, the last one made first.
func unmountBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", dir, err)
	}
	for _, m := range slices.Backward(mounts) {
		err := unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			// Someone on the host looks at it. It ends when they leave.
			err = unix.Unmount(m.Mountpoint, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // gone meanwhile
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}

// removeTree removes the directory name in parent, which is trusted.
func removeTree(parent, name string) error {
	p, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }() // opened for reading
	return removeDir(p, name)
}

// removeDir removes a directory and what is in it. Every step starts from an
// open directory, so nothing that is renamed meanwhile leads elsewhere, and the
// kernel refuses to step through a mount or link (openat2 is in Linux 5.6).
func removeDir(parent *os.File, name string) error {
	path := filepath.Join(parent.Name(), name)
	fd, err := unix.Openat2(int(parent.Fd()), name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS,
	})
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%s is a mount point", path)
	case err != nil:
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	dir := os.NewFile(uintptr(fd), path)
	err = errors.Join(removeEntries(dir), dir.Close())
	if err != nil {
		return err
	}
	return unlink(parent, name, unix.AT_REMOVEDIR)
}

// removeEntries removes what is in dir; what cannot be removed does not keep
// the rest.
func removeEntries(dir *os.File) error {
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	var failed []error
	for _, name := range names {
		err := unlink(dir, name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = removeDir(dir, name)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// unlink removes one entry of dir; that it is gone already is fine.
func unlink(dir *os.File, name string, flags int) error {
	err := unix.Unlinkat(int(dir.Fd()), name, flags)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
}
