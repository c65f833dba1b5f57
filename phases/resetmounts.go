package phases

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// mounts takes away what volumes, containers and their network namespaces have
// mounted in the directories of kubelet and boot. What is mounted on these, and
// on that of the user's image archives, was there before; unless it is the
// kubelet's directory mounted on itself.
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
			spared[target] = !mountedOnItself(target)
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

// mountedOnItself reports whether what is mounted at a path is what was there
// before, as the loop does it to have mounts spread.
func mountedOnItself(path string) bool {
	all, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false
	}
	i := slices.IndexFunc(all, func(m *mountinfo.Info) bool { return m.Mountpoint == path })
	if i < 0 {
		return false
	}
	below := slices.IndexFunc(all, func(m *mountinfo.Info) bool { return m.ID == all[i].Parent })
	if below < 0 || all[below].Major != all[i].Major || all[below].Minor != all[i].Minor {
		return false
	}
	rel, err := filepath.Rel(all[below].Mountpoint, path)
	return err == nil && filepath.Join(all[below].Root, rel) == all[i].Root
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
