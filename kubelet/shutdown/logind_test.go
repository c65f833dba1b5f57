package shutdown

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/prop"
)

// A fakeLogind is logind and systemd on a bus of their own.
type fakeLogind struct {
	conn  *dbus.Conn
	props *prop.Properties
	conf  string // directory of its configuration

	mu    sync.Mutex
	locks []lock
	asked string
}

// A lock is a pipe: one end was handed out, and is held by whoever asked for it.
type lock struct{ mine, theirs *os.File }

// Inhibit implements that of logind.
func (l *fakeLogind) Inhibit(what, who, _, mode string) (dbus.UnixFD, *dbus.Error) {
	mine, theirs, err := os.Pipe()
	if err != nil {
		return 0, dbus.MakeFailedError(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks, l.asked = append(l.locks, lock{mine, theirs}), strings.Join([]string{what, who, mode}, " ")
	return dbus.UnixFD(theirs.Fd()), nil
}

// KillUnit has logind read its configuration, as systemd does on SIGHUP.
func (l *fakeLogind) KillUnit(unit, _ string, signal int32) *dbus.Error {
	data, err := os.ReadFile(filepath.Join(l.conf, Override))
	if err != nil || unit != "systemd-logind.service" || signal != 1 {
		return dbus.MakeFailedError(errors.Join(err, errors.New(unit)))
	}
	if strings.Contains(string(data), "\n[Login]\nInhibitDelayMaxSec=35\n") {
		l.props.SetMust(logindIface, "InhibitDelayMaxUSec", uint64(35_000_000))
	}
	return nil
}

// newBus starts a bus and returns its address.
func newBus(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Skip("there is no dbus-daemon")
	}
	cmd := exec.CommandContext(t.Context(), program, "--session", "--nofork", "--nopidfile", "--print-address", "--address=unix:dir="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

func newFakeLogind(t *testing.T, address, conf string) *fakeLogind {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	l := &fakeLogind{conn: conn, conf: conf}
	l.props, err = prop.Export(conn, logindPath, prop.Map{logindIface: {"InhibitDelayMaxUSec": {Value: uint64(5_000_000)}}})
	if err = errors.Join(err, conn.Export(l, logindPath, logindIface), conn.Export(l, systemdPath, systemdIface)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{logindName, systemdName} {
		if _, err := conn.RequestName(name, dbus.NameFlagDoNotQueue); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// released returns once a lock was given back.
func (l *fakeLogind) released(t *testing.T, n int) {
	t.Helper()
	l.mu.Lock()
	lock := l.locks[n]
	l.mu.Unlock()
	_ = lock.theirs.Close() // the one who asked has its own by now
	if err := lock.mine.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock.mine.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("lock %d is held: %v", n, err)
	}
}

func TestLogindByDBus(t *testing.T) {
	address, conf := newBus(t), filepath.Join(t.TempDir(), "logind.conf.d")
	l := newFakeLogind(t, address, conf)
	connect := Connect(func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Connect(address, o...) }, conf)
	logind, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := logind.Delay(t.Context(), 5*time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(conf); err == nil {
		t.Error("what waits for long enough was configured")
	}
	if err := logind.Delay(t.Context(), 35*time.Second); err != nil {
		t.Error(err)
	}
	release, err := logind.Inhibit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	if l.asked != "shutdown kubelet delay" {
		t.Errorf("asked for %s", l.asked)
	}
	l.mu.Unlock()
	events, err := logind.Events(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, down := range []bool{true, false} {
		if err := l.conn.Emit(logindPath, logindIface+".PrepareForShutdown", down); err != nil {
			t.Fatal(err)
		}
		if got := <-events; got != down {
			t.Errorf("heard %t", got)
		}
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	l.released(t, 0)
	if err := logind.Close(); err != nil {
		t.Error(err)
	}
	if _, ok := <-events; ok {
		t.Error("heard something after the end")
	}
}

func TestConnectToNobody(t *testing.T) {
	address := newBus(t)
	for name, open := range map[string]func(...dbus.ConnOption) (*dbus.Conn, error){
		"a bus without logind": func(o ...dbus.ConnOption) (*dbus.Conn, error) { return dbus.Connect(address, o...) },
		"no bus": func(o ...dbus.ConnOption) (*dbus.Conn, error) {
			return dbus.Connect("unix:path="+filepath.Join(t.TempDir(), "none"), o...)
		},
	} {
		if _, err := Connect(open, t.TempDir())(t.Context()); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
