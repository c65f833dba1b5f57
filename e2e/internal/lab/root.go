package lab

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// onDisk are the directories that a node has on the disk of the host: they get
// large, are synced, and hold the layers of overlays of their own.
func onDisk() []string { return []string{"/var/lib", "/var/log"} }

// scratch is where the keeper has what the node writes to its root: in memory,
// since upper directories cannot be below the lower one, which is everything.
func scratch(p plan) string { return filepath.Join(p.Dir, "scratch") }

// makeScratch mounts it, for as long as this mount namespace exists.
func makeScratch(p plan) error {
	if err := mountAt("tmpfs", scratch(p), "tmpfs", "mode=755"); err != nil {
		return err
	}
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(scratch(p), d), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// makeRoot gives this mount namespace a root of its own. It returns a
// descriptor of the directory that takes what is written to it.
func makeRoot(p plan) (upper int, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, fmt.Errorf("part from the host's mounts: %w", err)
	}
	root := filepath.Join(p.Dir, "root")
	opts := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%[1]s/work", scratch(p))
	if err := mountAt("overlay", root, "overlay", opts); err != nil {
		return 0, err
	}
	upper, err = unix.Open(filepath.Join(scratch(p), "upper"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := furnish(root, p); err != nil {
		return 0, err
	}
	return upper, enter(root)
}

// furnish mounts what belongs in a root.
func furnish(root string, p plan) error {
	for _, m := range []struct{ source, path, kind, opts string }{
		{"proc", "/proc", "proc", ""},
		{"sysfs", "/sys", "sysfs", ""},
		{"tmpfs", "/run", "tmpfs", "mode=755"},
	} {
		if err := mountAt(m.source, root+m.path, m.kind, m.opts); err != nil {
			return err
		}
	}
	if err := ownSettings(root+"/proc", p); err != nil {
		return err
	}
	if err := unix.Mount("/dev", root+"/dev", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount /dev: %w", err)
	}
	if err := mountAt("tmpfs", root+"/dev/shm", "tmpfs", ""); err != nil {
		return err
	}
	for _, path := range onDisk() {
		dir := filepath.Join(p.Dir, path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(dir, root+path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", path, err)
		}
	}
	return mountCgroups(root + "/sys/fs/cgroup")
}

// mountCgroups mounts the hierarchies the host has, as the node sees them.
func mountCgroups(at string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	if len(dirs) == 1 && dirs[0] == "/sys/fs/cgroup" {
		return mountAt("cgroup2", at, "cgroup2", "")
	}
	if err := mountAt("tmpfs", at, "tmpfs", "mode=755"); err != nil {
		return err
	}
	for _, dir := range dirs {
		kind, opts := "cgroup", filepath.Base(dir)
		switch {
		case opts == "systemd":
			opts = "none,name=systemd"
		case isUnified(dir):
			kind, opts = "cgroup2", ""
		}
		if err := mountAt(kind, filepath.Join(at, filepath.Base(dir)), kind, opts); err != nil {
			return err
		}
	}
	return nil
}

func isUnified(dir string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(dir, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// enter makes root the root, and lets go of the old one.
func enter(root string) error {
	old := filepath.Join(root, ".old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	// Mounts spread among the containers of the node, as on a host with systemd.
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
}

func mountAt(source, path, kind, opts string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, path, kind, 0, opts); err != nil {
		return fmt.Errorf("mount %s: %w", path, err)
	}
	return nil
}
