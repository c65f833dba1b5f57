package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func dialNotify(path string) (net.Conn, error) { return net.Dial("unixgram", path) }

// systemctl is a systemd of one unit that starts what it is told to start.
type systemctl struct {
	calls   []string
	state   string
	pid     int
	refuses string // the verb that fails
}

func (s *systemctl) run(_ context.Context, name string, args ...string) (string, error) {
	call := name + " " + strings.Join(args, " ")
	s.calls = append(s.calls, call)
	if name == "journalctl" {
		return "first line\nconfig.yaml:3: unknown field", nil
	}
	switch args[0] {
	case s.refuses:
		return "", errors.New("exit status 1")
	case "show":
		return fmt.Sprintf("MainPID=%d\nActiveState=%s", s.pid, s.state), nil
	case "restart":
		s.state, s.pid = "active", os.Getpid()
	case "disable":
		s.state, s.pid = "inactive", 0
	}
	return "", nil
}

func onSystemd(t *testing.T) (*systemctl, *Manager) {
	t.Helper()
	s := &systemctl{state: "inactive"}
	o := Options{Args: []string{"kubelet", "--config", "/etc/50% of $HOME"}, root: t.TempDir(), run: s.run}
	if err := os.MkdirAll(filepath.Join(o.root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s, manager(t, o)
}

func TestSystemd(t *testing.T) {
	s, m := onSystemd(t)
	if m.Kind() != Systemd {
		t.Fatalf("kind %s", m.Kind())
	}
	mustRun(t, m, false)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, m, true)
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustRun(t, m, false)
	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.calls = slices.DeleteFunc(s.calls, func(c string) bool { return strings.HasPrefix(c, "systemctl show") })
	want := []string{
		"systemctl daemon-reload", "systemctl enable boot-kubelet.service", "systemctl restart boot-kubelet.service",
		"systemctl disable --now boot-kubelet.service", "systemctl reset-failed boot-kubelet.service", "systemctl daemon-reload",
	}
	if diff := cmp.Diff(want, s.calls); diff != "" {
		t.Error(diff)
	}
}

// What the loop has logged is in the journal, where something is.
func TestSystemdLogTail(t *testing.T) {
	s, m := onSystemd(t)
	if diff := cmp.Diff([]string{"first line", "config.yaml:3: unknown field"}, m.LogTail(t.Context(), 7)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"journalctl -u boot-kubelet.service -n 7 --no-pager -o cat"}, s.calls); diff != "" {
		t.Error(diff)
	}
	for _, out := range []string{"", "-- No entries --\n"} {
		m.o.run = func(context.Context, string, ...string) (string, error) { return out, nil }
		if got := m.LogTail(t.Context(), 7); got != nil {
			t.Errorf("of %q: %q", out, got)
		}
	}
}

func TestSystemdUnit(t *testing.T) {
	_, m := onSystemd(t)
	m.o.Executable = "/usr/local/bin/boot"
	got, err := systemd{m.o}.text()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", unit)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

// systemd itself finds nothing wrong with the unit.
func TestSystemdVerifies(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed")
	}
	_, m := onSystemd(t)
	text, err := systemd{m.o}.text()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), unit)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(verify, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestSystemdRunsAnew(t *testing.T) {
	for name, change := range map[string]func(*systemctl, *Manager){
		"not active":      func(s *systemctl, _ *Manager) { s.state = "activating" },
		"other program":   func(s *systemctl, _ *Manager) { s.pid = 1 },
		"other arguments": func(_ *systemctl, m *Manager) { m.backend = systemd{withArgs(m.o, "kubelet")} },
	} {
		t.Run(name, func(t *testing.T) {
			s, m := onSystemd(t)
			if err := m.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			change(s, m)
			mustRun(t, m, false)
		})
	}
}

func withArgs(o Options, args ...string) Options {
	o.Args = args
	return o
}

func TestSystemdFailureShowsTheJournal(t *testing.T) {
	s, m := onSystemd(t)
	s.refuses = "restart"
	err := m.Start(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	wantParts(t, hintOf(err), "journalctl -u boot-kubelet", "config.yaml:3: unknown field")
	if s.state != "inactive" {
		t.Errorf("left %s", s.state)
	}
}
