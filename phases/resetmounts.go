package phases

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts takes away what volumes, containers and their network namespaces have
// mounted in the directories of kubelet and boot. What is mounted on these, and
// on that of the user's image archives, was there before.
func (r reset) mounts(context.Context) ([]Change, error) {
	points, err := mountsIn(r.Dirs.Kubelet, r.Dirs.Run, r.Dirs.State)
	if err != nil {
		return nil, err
	}
	theirs, err := mountsIn(r.images())
	if err != nil {
		return nil, err
	}
	spared := map[string]bool{}
	for _, path := range theirs {
		spared[path] = true
	}
	for _, dir := range []string{r.Dirs.Kubelet, r.Dirs.Run, r.Dirs.State} {
		if target, err := filepath.EvalSymlinks(dir); err == nil {
			spared[target] = true
		}
	}
	flags := unmountFlags(r.Config.UnmountFlags)
	var changes []Change
	for _, path := range points {
		if !spared[path] {
			changes = append(changes, Change{"unmount " + path, func(context.Context) error { return unmount(path, flags) }})
		}
	}
	return changes, nil
}

// unmount does not wait for those who still look at what is mounted: it ends
// when they leave.
func unmount(path string, flags int) error {
	err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW|flags)
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EAGAIN) {
		err = unix.Unmount(path, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	// One that was a copy of another went with it.
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// unmountFlags are the flags of umount2(2) by their names, which the
// configuration has been checked for.
func unmountFlags(names []string) int {
	flags := 0
	for _, name := range names {
		switch strings.ToUpper(name) {
		case "MNT_FORCE":
			flags |= unix.MNT_FORCE
		case "MNT_DETACH":
			flags |= unix.MNT_DETACH
		case "MNT_EXPIRE":
			flags |= unix.MNT_EXPIRE
		}
	}
	return flags
}
