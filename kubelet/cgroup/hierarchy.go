package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// A hierarchy is one mounted tree of groups.
type hierarchy struct {
	dir     string
	unified bool            // version 2
	has     map[string]bool // controllers
}

// used reports whether pods have limits in the hierarchy. In the others, such as
// the empty version 2 beside version 1, groups are made by the runtime alone.
func (h hierarchy) used() bool {
	return slices.ContainsFunc(controllers(), func(c string) bool { return h.has[c] })
}

func (h hierarchy) join(path string) string { return filepath.Join(h.dir, path) }

// detect returns the hierarchies mounted below a directory.
func detect(below string) ([]hierarchy, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	return hierarchiesOf(mounts, below)
}

func hierarchiesOf(mounts []*mountinfo.Info, below string) ([]hierarchy, error) {
	var trees []hierarchy
	taken := map[string]bool{} // controllers; one hierarchy may be mounted twice
	for _, m := range mounts {
		if m.Mountpoint != below && !strings.HasPrefix(m.Mountpoint, below+"/") {
			continue
		}
		h := hierarchy{dir: m.Mountpoint, unified: m.FSType == "cgroup2", has: map[string]bool{}}
		list := strings.Split(m.VFSOptions, ",")
		if h.unified {
			data, err := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
			if err != nil {
				return nil, fmt.Errorf("list controllers: %w", err)
			}
			list = strings.Fields(string(data))
		}
		for _, c := range list {
			if c != "rw" && c != "ro" && !taken[c] {
				h.has[c], taken[c] = true, true
			}
		}
		if len(h.has) > 0 || h.unified {
			trees = append(trees, h)
		}
	}
	if len(trees) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted at %s", below)
	}
	return trees, nil
}

// makeIn makes a group in one hierarchy, if limits belong there.
func (c *Cgroups) makeIn(h hierarchy, path string, l limits) error {
	if !h.used() {
		return nil
	}
	if err := os.MkdirAll(h.join(path), 0o755); err != nil {
		return err
	}
	if h.unified {
		c.enable(h, path)
	}
	for _, s := range l.settings(h.unified, c.QuotaPeriod) {
		if !h.has[s.controller] {
			continue
		}
		err := writeValue(filepath.Join(h.join(path), s.file), s.value)
		if errors.Is(err, fs.ErrNotExist) {
			c.warnMissing(s.controller) // enable could not
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// enable hands the controllers down to a group from those above it. Where that
// is refused, as in the root of a container that has processes in it, the group
// lacks the controller, which is found out when a limit is to be set.
func (c *Cgroups) enable(h hierarchy, path string) {
	dir := h.dir
	for element := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		file := filepath.Join(dir, "cgroup.subtree_control")
		data, err := os.ReadFile(file)
		if err != nil {
			return
		}
		enabled := strings.Fields(string(data))
		var missing []string
		for _, controller := range slices.Sorted(maps.Keys(h.has)) {
			if !slices.Contains(enabled, controller) {
				missing = append(missing, "+"+controller)
			}
		}
		if len(missing) > 0 && writeValue(file, strings.Join(missing, " ")) != nil {
			for _, m := range missing { // those that can be
				_ = writeValue(file, m)
			}
		}
		dir = filepath.Join(dir, element)
	}
}

// writeValue writes to a file that the kernel made.
func writeValue(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// sharesBelow adds up the CPU weights of the groups in a group.
func (c *Cgroups) sharesBelow(group name) uint64 {
	total := uint64(0)
	for _, h := range c.trees {
		if !h.has["cpu"] {
			continue
		}
		entries, _ := os.ReadDir(h.join(c.path(group))) // nothing there, nothing to add
		for _, e := range entries {
			if e.IsDir() {
				total += h.sharesAt(filepath.Join(h.join(c.path(group)), e.Name()))
			}
		}
	}
	return total
}

func (h hierarchy) sharesAt(dir string) uint64 {
	file := "cpu.shares"
	if h.unified {
		file = "cpu.weight"
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0 // it is on its way out
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	if h.unified {
		return sharesOfWeight(n)
	}
	return n
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
