package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Remove removes the group of a pod, and what is left of the groups in it, from
// all hierarchies. It kills nothing: a group that still has processes stays,
// and the error names them.
func (c *Cgroups) Remove(uid types.UID) error {
	if strings.ContainsAny(string(uid), "/\x00") || uid == "" {
		return fmt.Errorf("remove cgroup: UID %q cannot name one", uid)
	}
	var failed []error
	for _, class := range classes() {
		failed = append(failed, c.remove(c.path(c.podName(class, uid))))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.made, uid)
	delete(c.given, uid)
	if c.prepared {
		c.settle(v1.PodQOSBurstable)
	}
	return errors.Join(failed...)
}

// Reap removes the groups of all pods but those to keep: what was left by pods
// that went while boot was away.
func (c *Cgroups) Reap(wanted func() map[types.UID]bool) error {
	there := c.podGroups()
	for uid := range wanted() { // what is wanted later is not among those
		for _, class := range classes() {
			delete(there, c.path(c.podName(class, uid)))
		}
	}
	var failed []error
	for p := range there {
		failed = append(failed, c.remove(p))
	}
	return errors.Join(failed...)
}

// podGroups returns the groups of all pods there are.
func (c *Cgroups) podGroups() map[string]bool {
	all := map[string]bool{}
	for _, class := range classes() {
		parent := c.path(c.classOf(class))
		for _, h := range c.trees {
			entries, _ := os.ReadDir(h.join(parent)) // not there, so nothing is in it
			for _, e := range entries {
				if e.IsDir() && c.isPod(class, e.Name()) {
					all[path.Join(parent, e.Name())] = true
				}
			}
		}
	}
	return all
}

// Clean removes all groups, for good; those above boot's own if nobody else has
// any in them.
func (c *Cgroups) Clean() error {
	failed := c.Reap(func() map[types.UID]bool { return nil })
	if failed == nil {
		failed = c.remove(c.path(c.allPods()))
	}
	if failed != nil {
		return failed
	}
	for root := c.root(); len(root) > 0; root = root[:len(root)-1] {
		for _, h := range c.trees {
			_ = unix.Rmdir(h.join(c.path(root))) // refused where it is in use
		}
	}
	return nil
}

// remove removes a group with those in it from all hierarchies.
func (c *Cgroups) remove(p string) error {
	var failed []error
	found := false
	for _, h := range c.trees {
		dir := h.join(p)
		if isDir(dir) {
			found = true
			failed = append(failed, removeGroup(dir))
		}
	}
	err := errors.Join(failed...)
	if err == nil && found && c.units != nil { // stopping a slice that is in use would kill
		err = stopSlice(c.units, path.Base(p))
	}
	return err
}

// Processes that were killed just now may be seen in their group for a moment,
// of whose end version 1 has no way to tell.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 160 * time.Millisecond
)

// removeGroup removes a group and those in it, in one hierarchy.
func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for pause := firstPause; ; pause *= 2 {
		err := unix.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY):
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		case pause > lastPause:
			return fmt.Errorf("remove cgroup %s: it has processes %v", dir, processes(dir))
		}
		time.Sleep(pause)
	}
}

// processes returns the processes in a group.
func processes(dir string) []string {
	data, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // gone, none
	return strings.Fields(string(data))
}
