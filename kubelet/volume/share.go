package volume

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Share makes mounts below dir spread to those who have asked for it, such as
// drivers in containers, and back: dir becomes a mount point of its own where it
// is on a file system whose mounts stay where they are made. That is so where
// no systemd has made them shared.
func Share(dir string) error {
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	shared, err := isShared(target)
	if err != nil || shared {
		return err
	}
	if err := unix.Mount(target, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount %s on itself: %w", target, err)
	}
	if err := unix.Mount("", target, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share mounts below %s: %w", target, err)
	}
	return nil
}

// isShared reports whether what path is on spreads its mounts.
func isShared(path string) (bool, error) {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return false, fmt.Errorf("list mounts: %w", err)
	}
	longest, shared := -1, false
	for _, m := range mounts {
		at := strings.TrimSuffix(m.Mountpoint, "/")
		if (path == at || strings.HasPrefix(path, at+string(os.PathSeparator))) && len(at) >= longest { // the last is on top
			longest, shared = len(at), strings.Contains(m.Optional, "shared:")
		}
	}
	return shared, nil
}
