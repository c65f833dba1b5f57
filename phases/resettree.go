package phases

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

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// A clearing plans what is to go from the disk. What is kept stays, with the
// directories that lead to it.
type clearing struct {
	kept    map[string]bool // by path; of a directory only that it is there
	whole   map[string]bool // by path: kept with what is in it
	gone    map[string]bool // by path: planned to go, by this phase or one before
	changes []Change
}

// clearing returns one that keeps those of the paths that are there.
func (r reset) clearing(kept ...string) *clearing {
	c := &clearing{kept: map[string]bool{}, whole: map[string]bool{}, gone: r.gone}
	for _, path := range kept {
		if exists(path) {
			c.kept[path] = true
		}
	}
	return c
}

// file removes a file, and what a write of it that was killed has left.
func (c *clearing) file(path string) error {
	left, err := atomicfile.Leftovers(path)
	if err != nil {
		return err
	}
	for _, p := range append(left, path) {
		if exists(p) && !c.kept[p] {
			c.add(p, os.Remove)
		}
	}
	return nil
}

// tree removes path and what is in it. What was made by others is only emptied.
func (c *clearing) tree(path string) error {
	theirs, err := madeByOthers(path)
	if err != nil {
		return ignoreMissing(err)
	}
	if theirs {
		c.kept[path] = true
	}
	return c.branch(path)
}

func (c *clearing) branch(path string) error {
	switch {
	case c.whole[path]:
		return nil
	case !c.kept[path] && !c.keepsBelow(path):
		c.add(path, removeAll)
		return nil
	}
	fi, err := os.Stat(path)
	if err != nil || !fi.IsDir() {
		return ignoreMissing(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := c.branch(filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (c *clearing) keepsBelow(path string) bool {
	for _, paths := range []map[string]bool{c.kept, c.whole} {
		for kept, is := range paths {
			if is && strings.HasPrefix(kept, path+"/") {
				return true
			}
		}
	}
	return false
}

// empty removes a directory if nothing will be left in it.
func (c *clearing) empty(dir string) error {
	left, err := c.left(dir)
	if err != nil || len(left) > 0 {
		return ignoreMissing(err)
	}
	theirs, err := madeByOthers(dir)
	if err != nil || theirs || c.kept[dir] {
		return err
	}
	c.add(dir, func(dir string) error {
		err := os.Remove(dir)
		if errors.Is(err, unix.ENOTEMPTY) { // somebody was faster
			return nil
		}
		return err
	})
	return nil
}

// left returns the names of what will be in a directory.
func (c *clearing) left(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !c.gone[filepath.Join(dir, e.Name())] {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (c *clearing) add(path string, remove func(string) error) {
	c.gone[path] = true
	c.changes = append(c.changes, Change{"remove " + path, func(context.Context) error {
		return ignoreMissing(remove(path))
	}})
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// madeByOthers says whether path is a link, or a directory that something is
// mounted on.
func madeByOthers(path string) (bool, error) {
	fi, err := os.Lstat(path)
	if err != nil || fi.Mode()&fs.ModeSymlink != 0 {
		return err == nil, err
	}
	return mountinfo.Mounted(path)
}

// removeAll removes path and what is in it, but nothing through a mount: what
// a pod has mounted of the host is the host's.
func removeAll(path string) error {
	in, err := mountsIn(path)
	if err != nil {
		return err
	}
	if len(in) > 0 {
		return hint.With(fmt.Errorf("remove %s: %s is mounted there", path, in[0]), "unmount it and run 'boot reset' again")
	}
	return os.RemoveAll(path)
}

// mountsIn returns the mount points in and at the paths, in the order in which
// they can be unmounted. The mount table holds real paths.
func mountsIn(paths ...string) ([]string, error) {
	var below []string
	for _, path := range paths {
		target, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		below = append(below, target)
	}
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !slices.ContainsFunc(below, func(dir string) bool {
			return m.Mountpoint == dir || strings.HasPrefix(m.Mountpoint, dir+"/")
		}), false
	})
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for _, m := range slices.Backward(all) { // what was mounted last goes first
		points = append(points, m.Mountpoint)
	}
	return points, nil
}
