package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// hierarchies returns where control groups are mounted on the host.
func hierarchies() ([]string, error) {
	all, err := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		return []string{"/sys/fs/cgroup"}, nil // version 2 alone
	}
	var dirs []string
	for _, file := range all {
		if dir := filepath.Dir(file); !slices.ContainsFunc(dirs, func(d string) bool { return sameDir(d, dir) }) {
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// sameDir finds the links that lead to hierarchies of two controllers.
func sameDir(a, b string) bool {
	fa, errA := os.Stat(a)
	fb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(fa, fb)
}

// makeCgroups makes the node's group in every hierarchy.
func makeCgroups(name string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
		// A new group of cpusets has none, and takes no processes.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				continue // not in this hierarchy, or of version 2, which inherits
			}
			if err := os.WriteFile(filepath.Join(dir, name, file), data, 0o600); err != nil {
				return err
			}
		}
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+cpu +memory +pids +cpuset +io"), 0o600) // version 2
	}
	return nil
}

// killed is how long processes may take to end that were just killed.
const killed = time.Minute

// removeCgroups removes the node's groups with those in them, once their last
// processes are gone.
func removeCgroups(name string) error {
	dirs, err := hierarchies()
	failed := []error{err}
	for _, dir := range dirs {
		failed = append(failed, removeGroups(filepath.Join(dir, name)))
	}
	return errors.Join(failed...)
}

// removeGroups removes a group with all in it. Processes that were just killed may
// take a moment to end, and may have made one more group before.
func removeGroups(top string) error {
	end := time.Now().Add(killed)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := removeOnce(top)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		time.Sleep(pause)
	}
}

// removeOnce removes what has no processes, the deepest first.
func removeOnce(top string) error {
	var groups []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return nil // what is gone is gone
	})
	for _, dir := range slices.Backward(groups) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			return fmt.Errorf("remove cgroup %s: %w (processes %q)", dir, err, procs)
		}
	}
	return nil
}
