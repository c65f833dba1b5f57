package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An Info is what another process has to know of a node to be on it.
type Info struct {
	Name    string
	IP, IP6 netip.Addr
	PID     int // of its init, 0 while the power is off
	Cgroup  string
}

// Info returns what Attach takes.
func (n *Node) Info() Info {
	return Info{Name: n.Name, IP: n.IP, IP6: n.IP6, PID: n.pid(), Cgroup: n.plan.Cgroup}
}

// Attach returns a node of another process, to run programs there and to use its
// files and its network. Its power and its cable are that process's alone.
func Attach(i Info) (*Node, error) {
	n := &Node{Name: i.Name, IP: i.IP, IP6: i.IP6, plan: plan{Name: i.Name, IP: i.IP, IP6: i.IP6, Cgroup: i.Cgroup}}
	if i.PID == 0 {
		return n, nil
	}
	if err := n.came(i.PID); err != nil {
		return nil, fmt.Errorf("attach to %s: %w", i.Name, err)
	}
	return n, nil
}

// Sweep ends what is left of the nodes of a LAN that had a name, whose keepers
// are gone, and removes their control groups.
func Sweep(name string) error {
	dirs, err := hierarchies()
	failed := []error{err}
	for _, dir := range dirs {
		groups, err := filepath.Glob(filepath.Join(dir, groupPrefix(name)+"*"))
		failed = append(failed, err)
		for _, group := range groups {
			failed = append(failed, killGroup(group), removeCgroups(filepath.Base(group)))
		}
	}
	return errors.Join(failed...)
}

// killGroup kills the processes of a control group, and of those in it.
func killGroup(group string) error {
	return filepath.WalkDir(group, func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "cgroup.procs" {
			return nil //nolint:nilerr // groups come and go
		}
		procs, _ := os.ReadFile(path) // gone meanwhile
		for id := range strings.FieldsSeq(string(procs)) {
			pid, err := strconv.Atoi(id)
			if err != nil {
				return err
			}
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		return nil
	})
}
