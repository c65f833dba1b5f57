// Package nstest runs a test on a node of its own: new mount, network, PID, UTS
// and IPC namespaces, an empty /run, /etc/kubernetes, /etc/cni and /var/lib,
// and a cgroup name that nobody else has. What such a test starts, mounts and
// writes ends with it, and neither needs nor disturbs the host.
//
// It is for tests alone and decides nothing about what they do.
package nstest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The child learns from its environment which test it is and where it lives.
const (
	envTest   = "BOOT_NSTEST"
	envDir    = "BOOT_NSTEST_DIR"
	envCgroup = "BOOT_NSTEST_CGROUP"
)

// private lists the directories that a node has to itself, besides /run.
func private() []string {
	return []string{"/var/lib", "/var/log", "/etc/kubernetes", "/etc/cni", "/opt"}
}

// Enter runs the calling test on a node of its own. It returns true there, and
// false in the process that go test started, where the outcome has then been
// taken over and the test is to return:
//
//	if !nstest.Enter(t) {
//		return
//	}
func Enter(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envTest) == t.Name() {
		if err := settle(os.Getenv(envDir)); err != nil {
			t.Fatalf("settle on the node: %v", err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Fatal("this test makes namespaces: run it as root")
	}
	rerun(t)
	return false
}

// Cgroup is the name of the node's cgroup, which is removed with the node.
func Cgroup() string { return os.Getenv(envCgroup) }

// rerun runs this test alone in new namespaces and takes over its outcome.
func rerun(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	cgroup := fmt.Sprintf("boot-test-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(dir)))
	t.Cleanup(func() { removeCgroup(t, cgroup) })
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe",
		"-test.run=^"+t.Name()+"$", "-test.count=1", "-test.v", "-test.timeout="+timeout(t))
	cmd.Env = append(os.Environ(), envTest+"="+t.Name(), envDir+"="+dir, envCgroup+"="+cgroup)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	// The child is killed when the thread that started it ends, which is to be
	// when we do.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		t.Fatalf("make namespaces: %v", err)
	}
	relay(t, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("on the node: %v", err)
	}
}

// timeout leaves a little time to take the node down in.
func timeout(t *testing.T) string {
	deadline, ok := t.Deadline()
	if !ok {
		return "0"
	}
	return max(time.Second, time.Until(deadline)-10*time.Second).String()
}

// relay logs what the test says, without the frame that go test puts around it.
func relay(t *testing.T, out io.Reader) {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "=== "), strings.HasPrefix(line, "--- PASS"), line == "PASS":
		default:
			t.Log(line)
		}
	}
}

// settle makes the new namespaces a place to live in.
func settle(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("part from the host's mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, path := range private() {
		if err := bindEmpty(filepath.Join(dir, path), path); err != nil {
			return err
		}
	}
	if err := exec.CommandContext(context.Background(), "ip", "link", "set", "lo", "up").Run(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	return nil
}

// bindEmpty puts an empty directory over path. A path that the host lacks gets
// its empty directory in a parent that is put over the host's.
func bindEmpty(empty, path string) error {
	if err := os.MkdirAll(empty, 0o755); err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := overlayParent(empty, filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(empty, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("put an empty directory over %s: %w", path, err)
	}
	return nil
}

// overlayParent lets the node make entries in a directory of the host's which
// the host does not see.
func overlayParent(scratch, dir string) error {
	upper, work := scratch+".upper", scratch+".work"
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	opts := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, opts); err != nil {
		return fmt.Errorf("put an overlay over %s: %w", dir, err)
	}
	return nil
}

// removeCgroup removes the node's cgroups from every hierarchy, deepest first.
// Their processes have ended with the node.
func removeCgroup(t *testing.T, name string) {
	t.Helper()
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + name)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, "/sys/fs/cgroup/"+name) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			if err := unix.Rmdir(dirs[i]); err != nil {
				t.Errorf("remove cgroup %s: %v", dirs[i], err)
			}
		}
	}
}
