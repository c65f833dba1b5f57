package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"boot.internal/engine"
	"boot.internal/kubelet/cgroup"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/status"
	"boot.internal/network"
	"boot.internal/nstest"
	"boot.internal/process"
)

// TestReset is about a real node: boot's engine with pods on boot's network.
func TestReset(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	t.Cleanup(func() { killAll(t) })
	before := snapshot(t)
	t.Run("a node that runs", func(t *testing.T) { testResetRunning(t, before) })
	t.Run("a node whose engine is dead", func(t *testing.T) { testResetDead(t, before) })
	t.Run("a node whose engine and shims are dead", func(t *testing.T) { testResetOrphans(t, before) })
	t.Run("a loop in a terminal", func(t *testing.T) { testResetTerminal(t, before) })
	t.Run("asks", testResetAsks)
}

// killAll ends what a failed test has left on its node.
func killAll(t *testing.T) {
	all, err := process.All(func(id process.ID) bool { return id.PID != os.Getpid() })
	if err != nil {
		t.Error(err)
	}
	for _, id := range all {
		if err := id.Terminate(context.Background(), 0); err != nil {
			t.Error(err)
		}
	}
}

// snapshot lists all that boot could leave on a node.
func snapshot(t *testing.T) []string {
	t.Helper()
	var all []string
	roots := []string{"/run", "/etc/kubernetes", "/etc/cni", "/var/lib", "/var/log", "/opt"}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + nstest.Cgroup())
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range append(roots, groups...) {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			all = append(all, path)
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		all = append(all, "mount "+strings.Fields(line)[4])
	}
	links, err := filepath.Glob("/sys/class/net/*")
	if err != nil {
		t.Fatal(err)
	}
	ids, err := process.All(func(id process.ID) bool { return id.PID != os.Getpid() })
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		exe, _ := id.Exe() // it may have none any more
		all = append(all, "process "+exe)
	}
	return append(all, links...)
}

// startNode starts an engine and two pods on the pod network.
func startNode(t *testing.T) {
	t.Helper()
	e, err := engine.Find(t.Context(), engine.Options{Archive: engine.File(nstest.Engine(t)), Mode: engine.Bundled})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	images := t.TempDir()
	for _, name := range []string{"pause", "testbox"} {
		if err := os.Symlink(nstest.Image(t, name), filepath.Join(images, name+".tar")); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.NewImporter(images, nil).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := network.Configure(t.Context(), network.Options{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/24")}}); err != nil {
		t.Fatal(err)
	}
	configure(t)
	startPods(t, e)
}

// configure writes what the loop is configured with: a place for pods in the
// node's own control group, for that of the host is the host's.
func configure(t *testing.T) {
	t.Helper()
	config := "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupRoot: /" + nstest.Cgroup() + "\n"
	if err := os.MkdirAll("/var/lib/kubelet", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/var/lib/kubelet/config.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func startPods(t *testing.T, e *engine.Engine) {
	t.Helper()
	conn, err := runtime.Dial(e.Endpoint(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cgroups, err := cgroup.New(cgroup.Options{
		Driver: cgroup.CgroupFS, Root: "/" + nstest.Cgroup(), QOS: status.QOSClass, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(t, conn.Runtime, conn.Images, "/var", cgroups)
	tick := time.NewTicker(50 * time.Millisecond) // the engine has no event for its network
	defer tick.Stop()
	for {
		if s, err := h.runtime.Status(t.Context()); err == nil && s.NetworkReady {
			break
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("the network does not come up")
		}
	}
	h.run(testPod("one", "1111", 1))
	h.run(testPod("two", "2222", 1))
}

// resets resets the node and compares with what it was before it was one.
func resets(t *testing.T, before []string, args ...string) {
	t.Helper()
	var out, said bytes.Buffer
	if code := run(append([]string{"reset", "--purge"}, args...), &out, &said); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), said.String())
	}
	t.Logf("%s%s", said.String(), out.String())
	if strings.Contains(said.String(), "warning:") {
		t.Error("warned")
	}
	if diff := cmp.Diff(before, snapshot(t)); diff != "" {
		t.Errorf("left behind: %s", diff)
	}
	out.Reset()
	if code := run([]string{"reset", "--purge", "--force"}, &out, &said); code != 0 || !strings.Contains(out.String(), "nothing to do") {
		t.Errorf("again: exit code %d, %s", code, out.String())
	}
}

func testResetRunning(t *testing.T, before []string) {
	startNode(t)
	running := lasting(snapshot(t))
	var out, said bytes.Buffer
	if code := run([]string{"reset", "--dry-run"}, &out, &said); code != 0 || !strings.Contains(said.String(), "would stop default/one, default/two") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), said.String())
	}
	if diff := cmp.Diff(running, lasting(snapshot(t))); diff != "" {
		t.Errorf("a dry run changed: %s", diff)
	}
	resets(t, before, "--force")
}

// lasting leaves out what the engine runs for a moment, again and again.
func lasting(all []string) []string {
	return slices.DeleteFunc(all, func(s string) bool { return strings.HasPrefix(s, "process ") && strings.HasSuffix(s, "/runc") })
}

func testResetDead(t *testing.T, before []string) {
	startNode(t)
	kill(t, "containerd")
	resets(t, before, "--force")
}

// Containers without their shims are children of nobody, known by their control
// groups alone.
func testResetOrphans(t *testing.T, before []string) {
	startNode(t)
	kill(t, "containerd", "containerd-shim-runc-v2")
	resets(t, before, "--force")
}

// kill ends all processes of these programs.
func kill(t *testing.T, programs ...string) {
	t.Helper()
	all, err := process.All(func(id process.ID) bool {
		exe, err := id.Exe()
		return err == nil && slices.Contains(programs, filepath.Base(exe))
	})
	if err != nil || len(all) < len(programs) {
		t.Fatalf("found %v, %v", all, err)
	}
	for _, id := range all {
		if err := id.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if err := id.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func testResetTerminal(t *testing.T, before []string) {
	configure(t)
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "flock", "--verbose", filepath.Join(runDir, "kubelet.lock"), "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte("held\n")); err != nil {
		t.Fatal(err)
	}
	for said := ""; !strings.Contains(said, "held"); {
		buf := make([]byte, 1000)
		n, err := out.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, said)
		}
		said += string(buf[:n])
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	resets(t, before, "--force")
	if err := <-ended; err == nil {
		t.Error("the loop was not stopped")
	}
}

// testResetAsks gives boot a terminal to ask on.
func testResetAsks(t *testing.T) {
	configure(t)
	leftover := filepath.Join(runDir, "leftover")
	if err := os.MkdirAll(leftover, 0o755); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := run([]string{"reset"}, &out, &said); code != exitValidation || !strings.Contains(said.String(), "hint: run it with --force") {
		t.Errorf("without a terminal: exit code %d, %s", code, said.String())
	}
	user, terminal := openTerminal(t)
	stdin := os.Stdin
	os.Stdin = terminal
	t.Cleanup(func() { os.Stdin = stdin })
	for _, tt := range []struct {
		answer string
		stays  bool
	}{{"\n", true}, {"no\n", true}, {"Y\n", false}} {
		out.Reset()
		said.Reset()
		if _, err := user.WriteString(tt.answer); err != nil {
			t.Fatal(err)
		}
		code := run([]string{"reset"}, &out, &said)
		if code != 0 || !strings.Contains(out.String(), "[y/N]") || !strings.Contains(said.String(), "would remove "+runDir) {
			t.Errorf("answer %q: exit code %d, %s%s", tt.answer, code, out.String(), said.String())
		}
		if _, err := os.Stat(leftover); (err == nil) != tt.stays || strings.Contains(out.String(), "Nothing has been changed.") != tt.stays {
			t.Errorf("answer %q: %v, %s", tt.answer, err, out.String())
		}
	}
	out.Reset()
	said.Reset()
	if _, err := user.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	if code := run([]string{"reset"}, &out, &said); code != 0 || strings.Contains(out.String(), "[y/N]") {
		t.Errorf("asked about nothing: exit code %d, %s%s", code, out.String(), said.String())
	}
}

// openTerminal returns both ends of a terminal.
func openTerminal(t *testing.T) (user, terminal *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = user.Close() })
	fd := int(user.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return user, terminal
}
