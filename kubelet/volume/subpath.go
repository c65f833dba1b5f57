package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// subPathsDir is where parts of volumes are mounted, below a pod's directory:
// volume-subpaths/VOLUME/CONTAINER/INDEX, as upstream has it.
const subPathsDir = "volume-subpaths"

// SubPath returns a path that leads to a part of a volume. A container with a
// part of the same volume may replace files by symbolic links at any moment, so
// the part is opened step by step without leaving the volume, and what was
// opened is bind-mounted to a place where no container can write. A directory
// that is missing is made.
//
// What exactly went wrong is in the log alone: errors are shown to users, who
// are not to learn from them what is on the node.
func (v *Volumes) SubPath(ctx context.Context, p *v1.Pod, sub pod.SubPath) (string, error) {
	target := filepath.Join(v.podDir(p.UID), subPathsDir, sub.Name, sub.Container, strconv.Itoa(sub.Index))
	fail := func(words string, err error) (string, error) {
		v.Logger.LogAttrs(ctx, slog.LevelWarn, "mount a part of a volume", slog.String("pod", pod.KeyOf(p).String()),
			slog.String("container", sub.Container), slog.String("path", filepath.Join(sub.Volume.Path, sub.Path)), slog.Any("err", err))
		return "", fmt.Errorf("failed to %s for volumeMount %q of container %q", words, sub.Name, sub.Container)
	}
	for _, name := range []string{string(p.UID), sub.Name, sub.Container} {
		if err := checkElement(name); err != nil {
			return fail("prepare subPath", err)
		}
	}
	root, err := os.OpenRoot(sub.Volume.Path)
	if err != nil {
		return fail("prepare subPath", err)
	}
	defer func() { _ = root.Close() }() // opened for its path alone
	if _, err := root.Stat(sub.Path); errors.Is(err, fs.ErrNotExist) {
		if err := makeBelow(root, sub.Path); err != nil {
			return fail("create subPath directory", err)
		}
	}
	f, err := openBelow(root, sub.Path)
	if err != nil {
		return fail("prepare subPath", err)
	}
	defer func() { _ = f.Close() }() // opened for its path alone
	if err := bind(f, target); err != nil {
		return fail("prepare subPath", err)
	}
	return target, nil
}

// makeBelow makes the directories of path that are missing, with the mode of
// the volume itself: who may write to the one may write to the other.
func makeBelow(root *os.Root, path string) error {
	volume, err := root.Stat(".")
	if err != nil {
		return err
	}
	mode := volume.Mode() & (fs.ModePerm | fs.ModeSetgid | fs.ModeSetuid | fs.ModeSticky)
	made := ""
	for part := range strings.SplitSeq(filepath.Clean(path), "/") {
		made = filepath.Join(made, part)
		// Lstat would take a link that leads nowhere for a directory.
		if _, err := root.Stat(made); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.Mkdir(made, 0o700); err != nil {
			return err
		}
		if err := chmodBelow(root, made, mode); err != nil {
			return err
		}
	}
	return nil
}

// chmodBelow changes the mode of a directory that was just made, or of none.
func chmodBelow(root *os.Root, path string, mode fs.FileMode) error {
	dir, err := openIn(root, path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return err
	}
	return errors.Join(dir.Chmod(mode), dir.Close())
}

// openBelow opens what is at path in the volume. Links are followed as long as
// they stay in it.
func openBelow(root *os.Root, path string) (*os.File, error) {
	return openIn(root, path, unix.O_PATH, unix.RESOLVE_NO_MAGICLINKS)
}

// openIn opens a path that must not lead out of root (openat2 is in Linux 5.6).
func openIn(root *os.Root, path string, flags, resolve uint64) (*os.File, error) {
	dir, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }() // opened for its path alone
	fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
		Flags: flags | unix.O_CLOEXEC, Resolve: resolve | unix.RESOLVE_BENEATH,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: filepath.Join(root.Name(), path), Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(root.Name(), path)), nil
}

// bind mounts what is open at target, unless it is there already. Whatever else
// is there is of an earlier container, and goes.
func bind(f *os.File, target string) error {
	source, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := mountedAt(target); err != nil {
		return err
	} else if there {
		if fi, err := os.Lstat(target); err == nil && os.SameFile(source, fi) {
			return nil
		}
		if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	if err := makeTarget(target, source.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s at %s: %w", f.Name(), target, err)
	}
	return nil
}

// makeTarget makes the directory or file at target that something is mounted on.
func makeTarget(target string, dir bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if fi, err := os.Lstat(target); err == nil && fi.IsDir() != dir {
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	if dir {
		if err := os.Mkdir(target, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	// A file will do for whatever is no directory: device, socket, pipe.
	file, err := os.OpenFile(target, os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	return file.Close()
}

// mountedAt reports whether something is mounted at path.
func mountedAt(path string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, 0, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil // Linux 5.8
}
