package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

func TestMain(m *testing.M) {
	if ours, code := lab.Role(); ours {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "keep" { // started by up, from this program
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// command runs the command on a lab of its own, which is to end well, and
// returns its output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append(args, "--name", name), &stdout, &stderr); code != 0 {
		t.Fatalf("%v: exit code %d: %s", args, code, &stderr)
	}
	return stdout.String()
}

// on runs a program on a node.
func on(t *testing.T, name, node string, args ...string) (out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = run(append([]string{"exec", "--name", name, node, "--"}, args...), &stdout, &stderr)
	return strings.TrimSpace(stdout.String() + stderr.String()), code
}

// labName returns a name nobody else has. The lab is gone after the test, and
// that without a trace.
func labName(t *testing.T, suffix string) string {
	t.Helper()
	name := fmt.Sprintf("test-%d-%s", os.Getpid(), suffix)
	t.Cleanup(func() {
		command(t, name, "down")
		for _, pattern := range []string{"/sys/fs/cgroup/*/boot-lab-" + name + ".*", runDir + "/" + name, diskDir + "/" + name} {
			if left, err := filepath.Glob(pattern); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		}
		if left := processes(t, name); len(left) > 0 {
			t.Errorf("left processes %v", left)
		}
	})
	return name
}

// processes returns the process of a lab and the keepers of its nodes.
func processes(t *testing.T, name string) map[string]int {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // gone meanwhile
		if strings.Contains(string(args), "\x00keep\x00--name\x00"+name+"\x00") {
			found["lab"] = pid
		}
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		for e := range strings.SplitSeq(string(environ), "\x00") {
			if plan, ok := strings.CutPrefix(e, "BOOT_LAB_PLAN="); ok && strings.Contains(plan, "boot-lab-"+name+".") {
				role := "init"
				if strings.Contains(string(environ), "BOOT_LAB=keeper") {
					role = "keeper"
				}
				found[role+fmt.Sprint(pid)] = pid
			}
		}
	}
	return found
}

func TestLab(t *testing.T) {
	name := labName(t, "bare")
	command(t, name, "up", "--bare", "--workers", "1", "--dual-stack")
	if got := command(t, name, "list"); !strings.Contains(got, name+" up\n") {
		t.Errorf("list: %s", got)
	}
	if out, code := on(t, name, "node2", "sh", "-c", "hostname; exit 3"); out != "node2" || code != 3 {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := on(t, name, "node1", "sh", "-c", "command -v kubectl && command -v boot"); code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
	status := func(want string) {
		t.Helper()
		if got := command(t, name, "status"); !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	status("node2  worker         10.77.0.3  on     ok")
	for _, c := range []struct{ do, want string }{
		{"cut node2", "on     cut"},
		{"mend node2", "on     ok"},
		{"split node2", "on     split"},
		{"heal node2", "on     ok"},
		{"slow node2 500k", "on     500000 bytes/s"},
		{"slow node2 0", "on     ok"},
		{"drop node2 20", "on     drops 20%"},
		{"drop node2 0", "on     ok"},
		{"kill node2", "off    ok"},
		{"start node2", "on     ok"},
	} {
		command(t, name, strings.Fields(c.do)...)
		status("node2  worker         10.77.0.3  " + c.want)
	}
	if out, code := on(t, name, "node2", "hostname"); out != "node2" || code != 0 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestRefused(t *testing.T) {
	name := labName(t, "refused")
	for _, c := range []struct{ args, want string }{
		{"status", "there is no lab"},
		{"up --name Wrong", "no name for a lab"},
		{"up --control-planes 0", "one of them a control plane"},
		{"drop node1 100", "from 0 to 99"},
		{"slow node1 fast", "number of bytes"},
		{"kubeconfig", "has no cluster"},
	} {
		var stderr bytes.Buffer
		if code := run(append([]string{"--name", name}, strings.Fields(c.args)...), &stderr, &stderr); code != 1 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: exit code %d: %s", c.args, code, &stderr)
		}
	}
	command(t, name, "up", "--bare")
	var stderr bytes.Buffer
	if code := run([]string{"up", "--bare", "--name", name}, &stderr, &stderr); code != 1 || !strings.Contains(stderr.String(), "is up already") {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
}

// Whatever of a lab is killed, the rest ends or is taken away with it.
func TestNothingIsLeftOfAKilledLab(t *testing.T) {
	for _, victim := range []string{"lab", "keeper", "init"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			name := labName(t, "killed-"+victim)
			command(t, name, "up", "--bare", "--workers", "1")
			_, _ = on(t, name, "node1", "sh", "-c", "mkdir /sys/fs/cgroup/cpu/x; setsid sleep 4321 >/dev/null 2>&1 &")
			found := processes(t, name)
			if len(found) != 5 {
				t.Fatalf("found %v", found)
			}
			for what, pid := range found {
				if strings.HasPrefix(what, victim) {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				}
			}
			if victim != "lab" {
				return // down has to do with what is left
			}
			lab.Until(t, 2*time.Minute, "see its processes gone", func(context.Context) error {
				if left := processes(t, name); len(left) > 0 {
					return errors.New(fmt.Sprint(left))
				}
				return nil
			})
			if got := command(t, name, "list"); !strings.Contains(got, name+" dead\n") {
				t.Errorf("list: %s", got)
			}
		})
	}
}
