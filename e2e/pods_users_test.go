package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// testHostUsers gives a pod users of its own, where the kernel can.
func testHostUsers(t *testing.T, c *podCluster) {
	users, err := otherUsers(t)
	if err == nil {
		defer func() { _ = users.Close() }()
		err = c.Do(func() error { return errors.Join(mapped("/var/lib/boot", users), mapped("/run", users)) })
	}
	if err != nil {
		t.Skipf("the kernel cannot: %v", err)
	}
	p := boxPod("users", "cat", "/proc/self/uid_map")
	p.Spec.HostUsers = new(false)
	if out := strings.Fields(c.once(t, p)); len(out) != 3 || out[0] != "0" || out[1] == "0" || out[2] != "65536" {
		t.Errorf("users are mapped by %q", out)
	}
}

// otherUsers makes a namespace of users as a pod has them.
func otherUsers(t *testing.T) (*os.File, error) {
	t.Helper()
	ids := []syscall.SysProcIDMap{{HostID: 65536, Size: 65536}}
	member := exec.CommandContext(t.Context(), "cat")
	member.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	stay, err := member.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := member.Start(); err != nil {
		return nil, err
	}
	users, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", member.Process.Pid))
	if err := errors.Join(err, stay.Close(), member.Wait()); err != nil {
		t.Fatal(err)
	}
	return users, nil
}

// mapped tries whether a directory can be seen as by other users, which is how a pod
// gets its image and its volumes (mount_setattr(2), "ID-mapped mounts").
func mapped(dir string, users *os.File) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone the mount of %s: %w", dir, err)
	}
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users.Fd())})
	if err != nil {
		err = fmt.Errorf("map the users of %s: %w", dir, err)
	}
	return errors.Join(err, unix.Close(tree))
}
