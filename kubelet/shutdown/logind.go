package shutdown

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"

	"boot.internal/atomicfile"
)

// Names of logind and systemd on the bus.
const (
	logindName   = "org.freedesktop.login1"
	logindPath   = dbus.ObjectPath("/org/freedesktop/login1")
	logindIface  = "org.freedesktop.login1.Manager"
	systemdName  = "org.freedesktop.systemd1"
	systemdPath  = dbus.ObjectPath("/org/freedesktop/systemd1")
	systemdIface = "org.freedesktop.systemd1.Manager"
)

// ConfigDir is where logind finds its configuration, and Override the file there,
// the kubelet's too, that says how long shutdowns wait.
const (
	ConfigDir = "/etc/systemd/logind.conf.d"
	Override  = "99-kubelet.conf"
)

// A bus reaches logind by D-Bus.
type bus struct {
	conn      *dbus.Conn
	configDir string
}

// Connect returns a function that reaches logind by a bus, such as that of
// dbus.ConnectSystemBus, and that makes its settings in configDir.
func Connect(open func(...dbus.ConnOption) (*dbus.Conn, error), configDir string) func(context.Context) (Logind, error) {
	return func(ctx context.Context) (Logind, error) {
		conn, err := open(dbus.WithContext(ctx))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%w: %w", ErrNone, err)
		}
		if err != nil {
			return nil, fmt.Errorf("connect to D-Bus: %w", err)
		}
		b := &bus{conn, configDir}
		if _, err := b.delay(ctx); err != nil {
			if unknown := (dbus.Error{}); errors.As(err, &unknown) && unknown.Name == "org.freedesktop.DBus.Error.ServiceUnknown" {
				err = fmt.Errorf("%w: %w", ErrNone, err)
			}
			return nil, errors.Join(err, conn.Close())
		}
		return b, nil
	}
}

// Close ends the connection.
func (b *bus) Close() error {
	if err := b.conn.Close(); err != nil && !errors.Is(err, dbus.ErrClosed) {
		return fmt.Errorf("close D-Bus: %w", err)
	}
	return nil
}

// callTimeout bounds each call.
const callTimeout = 10 * time.Second

func (b *bus) call(ctx context.Context, name string, path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return b.conn.Object(name, path).CallWithContext(ctx, method, 0, args...)
}

// delay returns how long a shutdown waits at most.
func (b *bus) delay(ctx context.Context) (time.Duration, error) {
	var v dbus.Variant
	err := b.call(ctx, logindName, logindPath, "org.freedesktop.DBus.Properties.Get", logindIface, "InhibitDelayMaxUSec").Store(&v)
	if err != nil {
		return 0, fmt.Errorf("ask logind how long it waits: %w", err)
	}
	us, ok := v.Value().(uint64)
	if !ok {
		return 0, fmt.Errorf("ask logind how long it waits: it says %v", v)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// Delay makes sure that a shutdown waits for so long at least. logind reads its
// configuration again in its own time, and has no event for that.
func (b *bus) Delay(ctx context.Context, d time.Duration) error {
	now, err := b.delay(ctx)
	if err != nil || now >= d {
		return err
	}
	if err := b.configure(ctx, d); err != nil {
		return err
	}
	for wait := 100 * time.Millisecond; wait < 4*time.Second; wait *= 2 {
		if now, err = b.delay(ctx); err != nil || now >= d {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return fmt.Errorf("have shutdowns wait for %s: logind stays at %s", d, now)
}

func (b *bus) configure(ctx context.Context, d time.Duration) error {
	if err := os.MkdirAll(b.configDir, 0o755); err != nil {
		return fmt.Errorf("configure logind: %w", err)
	}
	text := fmt.Sprintf("# Written by boot: shutdowns wait until pods have ended.\n[Login]\nInhibitDelayMaxSec=%.0f\n", d.Seconds())
	if err := atomicfile.Write(filepath.Join(b.configDir, Override), []byte(text), 0o644); err != nil {
		return fmt.Errorf("configure logind: %w", err)
	}
	return b.reload(ctx)
}

// reload has logind read its configuration.
func (b *bus) reload(ctx context.Context) error {
	reload := b.call(ctx, systemdName, systemdPath, systemdIface+".KillUnit", "systemd-logind.service", "all", int32(syscall.SIGHUP))
	if reload.Err != nil {
		return fmt.Errorf("have logind read its configuration: %w", reload.Err)
	}
	return nil
}

// Reload has logind read its configuration, where there is a logind: once
// [Override] is gone, shutdowns wait as long as before.
func Reload(ctx context.Context, open func(...dbus.ConnOption) (*dbus.Conn, error)) error {
	found, err := Connect(open, ConfigDir)(ctx)
	if errors.Is(err, ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	b, ok := found.(*bus)
	if !ok {
		return nil
	}
	return errors.Join(b.reload(ctx), b.Close())
}

// Inhibit takes a lock that is held for as long as a descriptor is open.
func (b *bus) Inhibit(ctx context.Context) (release func() error, err error) {
	var fd dbus.UnixFD
	call := b.call(ctx, logindName, logindPath, logindIface+".Inhibit",
		"shutdown", "kubelet", "Kubelet needs time to handle node shutdown", "delay")
	if err := call.Store(&fd); err != nil {
		return nil, fmt.Errorf("have shutdowns wait: %w", err)
	}
	lock := os.NewFile(uintptr(fd), "inhibitor lock")
	return func() error {
		if err := lock.Close(); err != nil {
			return fmt.Errorf("let shutdowns go on: %w", err)
		}
		return nil
	}, nil
}

// Events follows the signal PrepareForShutdown.
func (b *bus) Events(ctx context.Context) (<-chan bool, error) {
	err := b.conn.AddMatchSignalContext(ctx, dbus.WithMatchInterface(logindIface),
		dbus.WithMatchMember("PrepareForShutdown"), dbus.WithMatchObjectPath(logindPath))
	if err != nil {
		return nil, fmt.Errorf("follow logind: %w", err)
	}
	signals := make(chan *dbus.Signal, 1)
	b.conn.Signal(signals)
	events := make(chan bool, 1)
	go func() {
		defer close(events)
		for s := range signals { // closed with the connection
			if len(s.Body) != 1 || s.Name != logindIface+".PrepareForShutdown" {
				continue
			}
			if down, ok := s.Body[0].(bool); ok {
				select {
				case events <- down:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return events, nil
}
