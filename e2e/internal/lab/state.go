package lab

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// State returns all that can be left on a node, a line for each thing, sorted:
// files with a digest of their content, mounts, control groups, processes,
// interfaces, addresses, routes, firewall rules and kernel settings.
// Two of them compared tell what came and went between.
func (n *Node) State(t testing.TB) []string {
	t.Helper()
	lines := []string{}
	note := func(kind, text string) { lines = append(lines, kind+" "+text) }
	if err := errors.Join(
		n.changes(note),
		n.Do(func() error { return describe(note) }),
	); err != nil {
		t.Fatal(err)
	}
	for _, p := range n.Processes(t) {
		note("process", strings.Join(p.Args, " "))
	}
	for kind, args := range map[string][]string{
		"link":  {"ip", "-brief", "link"},
		"addr":  {"ip", "-brief", "-4", "addr"},
		"route": {"ip", "-4", "route", "show", "table", "all"},
		"netns": {"ip", "netns"},
		"nft":   {"nft", "list", "ruleset"},
	} {
		for line := range strings.Lines(n.Run(t, args...)) {
			note(kind, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return lines
}

// changes notes what was written to the root of the node since it was made.
// Directories of the host that were only passed through are no change.
func (n *Node) changes(note func(kind, text string)) error {
	upper := fmt.Sprintf("/proc/%d/fd/%d", n.pid(), upperFD)
	return files(upper+"/", func(path, text string) {
		path = strings.TrimPrefix(path, upper)
		if fi, err := os.Lstat(path); err != nil || !fi.IsDir() {
			note("file", path+text)
		}
	})
}

// describe notes what is to be seen inside the node.
func describe(note func(kind, text string)) error {
	for _, dir := range append(onDisk(), "/run", "/dev/shm") {
		if err := files(dir, func(path, text string) { note("file", path+text) }); err != nil {
			return err
		}
	}
	mounts, err := os.ReadFile("/proc/1/mountinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		note("mount", strings.Fields(line)[4])
	}
	for _, key := range sysctls() {
		data, err := os.ReadFile("/proc/sys/" + key)
		if err == nil { // the kernel may not have it
			note("sysctl", key+" = "+strings.TrimSpace(string(data)))
		}
	}
	return filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			note("cgroup", path)
		}
		return nil // groups come and go
	})
}

// sysctls are those that a node agent or a network may want to change.
func sysctls() []string {
	return []string{
		"kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom",
		"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding", "net/ipv4/conf/all/route_localnet", "net/ipv4/conf/all/rp_filter",
		"net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables", "net/netfilter/nf_conntrack_max",
	}
}

// files notes every file below a directory, on its own file system.
func files(root string, note func(path, text string)) error {
	var base unix.Stat_t
	if err := unix.Stat(root, &base); err != nil {
		return err
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return nil //nolint:nilerr // gone meanwhile
		}
		if d.IsDir() && st.Dev != base.Dev {
			return fs.SkipDir // a mount, which is noted as such
		}
		if path != strings.TrimSuffix(root, "/") && path != root {
			note(path, fmt.Sprintf(" %v%s", d.Type(), content(path, d)))
		}
		return nil
	})
}

// content describes what is in a file, or where a link leads.
func content(path string, d fs.DirEntry) string {
	switch {
	case d.Type()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path) // gone meanwhile
		return " -> " + target
	case d.Type().IsRegular():
		data, _ := os.ReadFile(path) // gone meanwhile
		return fmt.Sprintf(" %x", sha256.Sum256(data))
	default:
		return ""
	}
}
