package service

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// OpenRC, as far as it goes without one: its script is what a shell makes of
// it, and rc-service starts what is in it.
func TestOpenRC(t *testing.T) {
	o := newOptions(t, "ready", "it's $HOME", "two words")
	touch(t, filepath.Join(o.root, "run/openrc/softlevel"))
	var calls []string
	o.run = func(_ context.Context, name string, args ...string) (string, error) {
		calls = append(calls, name+" "+strings.Join(args, " "))
		if name+" "+args[len(args)-1] != "rc-service restart" {
			return "", nil
		}
		script := filepath.Join(o.root, "etc/init.d", Name)
		sh := exec.Command("sh", "-c", `. "$0"; eval exec '"$command"' $command_args`, script)
		sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := sh.Start(); err != nil {
			return "", err
		}
		go func() { _ = sh.Wait() }()
		return "", nil
	}
	m := manager(t, o)
	if m.Kind() != OpenRC {
		t.Fatalf("kind %s", m.Kind())
	}
	s := mustStart(t, m)
	if !slices.Equal(s.Args, o.Args) {
		t.Errorf("arguments %q", s.Args)
	}
	mustRun(t, m, true)
	m.backend = openrc{withArgs(o, "loop", "ready")}
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Loop.Alive() {
		t.Error("alive after it was replaced")
	}
	if s, err := ReadState(o.RunDir); err != nil || !slices.Equal(s.Args, []string{"loop", "ready"}) {
		t.Errorf("arguments %q: %v", s.Args, err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Loop.Alive() {
		t.Error("alive after stop")
	}
	want := []string{
		"rc-update add boot-kubelet default", "rc-service boot-kubelet restart",
		"rc-service --ifstarted boot-kubelet stop", "rc-update add boot-kubelet default", "rc-service boot-kubelet restart",
		"rc-service --ifstarted boot-kubelet stop", "rc-update del boot-kubelet default",
	}
	if !slices.Equal(calls, want) {
		t.Errorf("called %q", calls)
	}
	if err := m.Stop(t.Context()); err != nil || len(calls) != len(want) {
		t.Errorf("stop again: %v, %q", err, calls)
	}
}

// Real shells, and where there is one a real OpenRC, read the script.
func TestOpenRCScript(t *testing.T) {
	o := newOptions(t, "ready", "it's $HOME")
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, openrc{o}.text(), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, check := range [][]string{{"sh", "-n"}, {"bash", "-n"}, {"busybox", "sh", "-n"}, {"openrc-run", path, "describe"}} {
		program, err := exec.LookPath(check[0])
		if err != nil {
			continue
		}
		args := check[1:]
		if check[0] != "openrc-run" {
			args = append(args, path)
		}
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v: %s", check, err, out)
		}
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
