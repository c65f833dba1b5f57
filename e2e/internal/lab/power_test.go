package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// makeGroups makes a control group in every hierarchy.
const makeGroups = "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -execdir mkdir group ';'"

func TestNodeComesBackWithItsDisk(t *testing.T) {
	lan := NewLAN(t)
	a, b := lan.Node(t, "a"), lan.Node(t, "b")
	pings(t, b)
	kept, lost := []string{"/etc/kept", "/var/lib/kept", "/opt/kept", "/root/kept"}, []string{"/run/lost", "/dev/shm/lost"}
	for _, path := range append(kept, lost...) {
		a.WriteFile(t, path, "x")
	}
	a.Remove(t, "/etc/machine-id") // which it has from its first start
	a.Run(t, "sh", "-c", "setsid sleep 1234 >/dev/null 2>&1 &")
	a.Run(t, "sh", "-c", makeGroups)
	mac := a.Run(t, "cat", "/sys/class/net/eth0/address")

	Must(t, a.PowerOff())
	if _, err := a.Try(t.Context(), "true"); err == nil || !strings.Contains(err.Error(), "power is off") {
		t.Errorf("ran something: %v", err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + a.plan.Cgroup); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	Must(t, a.PowerOn())

	for _, path := range kept {
		if !a.Exists(t, path) {
			t.Errorf("%s is gone", path)
		}
	}
	for _, path := range append(lost, "/etc/machine-id") {
		if a.Exists(t, path) {
			t.Errorf("%s is there again", path)
		}
	}
	if left := a.Processes(t); len(left) > 0 {
		t.Errorf("processes %v", left)
	}
	if groups := a.Run(t, "find", "/sys/fs/cgroup", "-name", "group"); groups != "" {
		t.Errorf("control groups %s", groups)
	}
	if name := strings.TrimSpace(a.Run(t, "hostname")); name != "a" {
		t.Errorf("host name %s", name)
	}
	if again := a.Run(t, "cat", "/sys/class/net/eth0/address"); again != mac {
		t.Errorf("hardware address %s, it was %s", again, mac)
	}
	pings(t, a)
	want(t, true, a, b)
	Must(t, a.Restart())
	a.Remove(t, "/etc/kept") // the layers still fit
}

// A loop of boot has a supervisor, which a service manager would start.
func TestSupervisorsComeBack(t *testing.T) {
	n := New(t)
	n.WriteFile(t, "/root/loop", "echo $1 >>/root/started\ntail -f /dev/null\n")
	started := func(want string) {
		t.Helper()
		Until(t, patience, "see what was started", func(context.Context) error {
			if got := strings.Join(strings.Fields(n.ReadFile(t, "/root/started")), " "); got != want {
				return fmt.Errorf("%q, want %q", got, want)
			}
			return nil
		})
	}
	n.WriteFile(t, "/root/started", "")
	Must(t, n.spawn(t.Context(), []string{"/bin/sh", "/root/loop", "one", "--supervise"}))
	started("one")
	Must(t, n.spawn(t.Context(), []string{"/bin/sh", "/root/loop", "two"}))
	started("one two")
	Must(t, n.Restart())
	started("one two one")
}

func TestNodesComeUpSideBySide(t *testing.T) {
	lan := NewLAN(t)
	nodes := make([]*Node, 10)
	errs := make([]error, len(nodes))
	var group sync.WaitGroup
	for i := range nodes {
		dir := t.TempDir()
		group.Go(func() { nodes[i], errs[i] = lan.Add(fmt.Sprint("node", i), dir) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	pings(t, nodes[0])
	for _, n := range nodes[1:] {
		Until(t, patience, "reach the first", func(ctx context.Context) error { return reaches(ctx, n, nodes[0].IP) })
	}
	for i := range nodes {
		group.Go(func() { errs[i] = nodes[i].Close() })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// A node ends with its keeper, and whoever started that takes away the rest.
func TestNothingIsLeftOfAKilledKeeper(t *testing.T) {
	n, err := NewLAN(t).Add("node1", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	n.Run(t, "sh", "-c", makeGroups+"; setsid sleep 4321 >/dev/null 2>&1 &")
	if err := n.keeper.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("it ended with %v", err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + n.plan.Cgroup); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if _, err := os.Stat(n.plan.Dir); !errors.Is(err, unix.ENOENT) {
		t.Errorf("left %s: %v", n.plan.Dir, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), n.plan.Dir) {
		t.Errorf("left mounts (%v): %s", err, mounts)
	}
}
