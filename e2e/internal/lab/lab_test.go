package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// patience is for a machine that is small and busy.
const patience = 2 * time.Minute

func TestNodeIsAMachineOfItsOwn(t *testing.T) {
	n := New(t)
	if got := strings.TrimSpace(n.Run(t, "hostname")); got != "node1" {
		t.Errorf("host name %q", got)
	}
	if got := n.Run(t, "sh", "-c", "echo $$; cat /proc/1/cmdline | tr '\\0' ' '"); !strings.Contains(got, "/proc/self/exe") {
		t.Errorf("init is %q", got)
	}
	for group := range strings.FieldsSeq(n.Run(t, "cat", "/proc/self/cgroup")) {
		if !strings.HasSuffix(group, ":/") {
			t.Errorf("not at the root of its cgroups: %s", group)
		}
	}
	if addr := n.Run(t, "ip", "-4", "-o", "addr", "show", "eth0"); !strings.Contains(addr, "10.77.0.2/24") {
		t.Errorf("addresses %q", addr)
	}
	if route := n.Run(t, "ip", "route", "get", "192.0.2.1"); !strings.Contains(route, "via 10.77.0.1 dev eth0") {
		t.Errorf("route %q", route)
	}
}

func TestWhatIsWrittenStaysOnTheNode(t *testing.T) {
	n := New(t)
	before := n.State(t)
	name := "boot-lab-" + filepath.Base(t.TempDir())
	for _, dir := range []string{"/etc", "/usr/local/bin", "/opt", "/run", "/var/lib", "/root"} {
		path := filepath.Join(dir, name)
		n.WriteFile(t, path, "x")
		if got := n.ReadFile(t, path); got != "x" {
			t.Errorf("%s has %q", path, got)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is on the host: %v", path, err)
		}
	}
	n.Run(t, "ip", "link", "add", "br9", "type", "bridge")
	diff := cmp.Diff(before, n.State(t))
	for _, want := range []string{"file /etc/" + name, "file /var/lib/" + name, "link br9"} {
		if !strings.Contains(diff, want) {
			t.Errorf("state does not tell of %s:\n%s", want, diff)
		}
	}
	n.Run(t, "ip", "link", "del", "br9")
	for _, dir := range []string{"/etc", "/usr/local/bin", "/opt", "/run", "/var/lib", "/root"} {
		n.Remove(t, filepath.Join(dir, name))
	}
	if diff := cmp.Diff(before, n.State(t)); diff != "" {
		t.Errorf("state after all was taken back (-before +after):\n%s", diff)
	}
}

func TestNodesReachEachOther(t *testing.T) {
	lan := NewLAN(t)
	a, b := lan.Node(t, "a"), lan.Node(t, "b")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }), ReadHeaderTimeout: patience}
	l, err := b.Listen("tcp", b.IP.String()+":80")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	defer func() { _ = server.Close(); <-done }()
	client := &http.Client{Transport: &http.Transport{DialContext: a.Dial, DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Get("http://" + b.IP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestTryTellsHowItEnded(t *testing.T) {
	n := New(t)
	out, err := n.Try(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	if err != nil || out != (Output{Stdout: "out\n", Stderr: "err\n", Code: 3}) {
		t.Errorf("got %+v, %v", out, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Try(ctx, "sleep", "60"); err == nil {
		t.Error("a program that was stopped has ended well")
	}
	if _, err := n.Try(t.Context(), "/no/such/program"); err == nil {
		t.Error("ran what does not exist")
	}
}

func TestProcesses(t *testing.T) {
	n := New(t)
	n.Run(t, "sh", "-c", "setsid sleep 1234 >/dev/null 2>&1 &")
	var found []Process
	Until(t, patience, "find the process", func(context.Context) error {
		if found = n.Find(t, "sleep", "1234"); len(found) != 1 {
			return fmt.Errorf("found %v in %v", found, n.Processes(t))
		}
		return nil
	})
	n.Kill(t, found[0], syscall.SIGKILL)
	Until(t, patience, "see it gone", func(context.Context) error {
		if left := n.Processes(t); len(left) > 0 { // its init has reaped it
			return fmt.Errorf("left %v", left)
		}
		return nil
	})
}

// Whoever starts programs on a node is no member of its control groups: these
// can be killed and removed.
func TestStartStaysOutside(t *testing.T) {
	n := New(t)
	dirs, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // more than there are threads in reserve
		cmd := n.Command(t.Context(), "true")
		if err := n.Start(cmd); err != nil {
			t.Fatal(err)
		}
		for _, dir := range dirs {
			procs, err := os.ReadFile(filepath.Join(dir, n.plan.Cgroup, "cgroup.procs"))
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(strings.Fields(string(procs)), strconv.Itoa(os.Getpid())) {
				t.Fatalf("%s has this process: %q", dir, procs)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// A node is taken down however the test ends: here it is killed.
func TestNothingIsLeftOfAKilledTest(t *testing.T) {
	if os.Getenv("BOOT_LAB_VICTIM") != "" {
		n := New(t)
		n.Run(t, "sh", "-c", "find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs -execdir mkdir x ';'; setsid sleep 4321 >/dev/null 2>&1 &")
		_, _ = fmt.Fprintf(os.Stdout, "\ncgroup %s\n", n.plan.Cgroup)
		select {}
	}
	victim := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	victim.Env = append(os.Environ(), "BOOT_LAB_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	cgroup := ""
	for lines := bufio.NewScanner(out); cgroup == "" && lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "cgroup "); ok {
			cgroup = name
		}
	}
	if cgroup == "" {
		t.Fatal("no node came up")
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	Until(t, patience, "see all of it gone", func(context.Context) error {
		left, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroup)
		if err != nil || len(left) > 0 {
			return fmt.Errorf("left %v, %w", left, err)
		}
		return nil
	})
}
