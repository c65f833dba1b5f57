package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// Units is the part of systemd that makes slices.
type Units interface {
	StartTransientUnitContext(ctx context.Context, name, mode string, properties []dbus.Property, done chan<- string) (int, error)
	SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...dbus.Property) error
	StopUnitContext(ctx context.Context, name, mode string, done chan<- string) (int, error)
}

// connect reaches systemd, which may take as long as ctx lasts. The connection
// outlives that.
func connect(ctx context.Context) (Units, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	inTime := context.AfterFunc(ctx, end)
	conn, err := dbus.NewSystemdConnectionContext(life)
	if !inTime() && err == nil {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("connect to systemd: %w", err)
	}
	return conn, nil
}

// link is systemd over a connection that is made anew when it was lost: systemd
// closes all of them when it executes itself again, as its own update has it do.
type link struct {
	connect func(ctx context.Context) (Units, error)

	mu  sync.Mutex // guards what follows
	now Units      // nil if there is none
}

var _ Units = &link{}

func (l *link) units(ctx context.Context) (Units, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil {
		return l.now, nil
	}
	u, err := l.connect(ctx)
	if err == nil {
		l.now = u
	}
	return u, err
}

func (l *link) forget(lost Units) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now == lost {
		l.now = nil
	}
	if c, ok := lost.(interface{ Close() }); ok {
		c.Close()
	}
}

// call calls systemd, once more over another connection if the one there was is
// lost.
func (l *link) call(ctx context.Context, do func(u Units) error) error {
	for again := false; ; again = true {
		u, err := l.units(ctx)
		if err != nil {
			return err
		}
		err = do(u)
		if !isLost(err) {
			return err
		}
		l.forget(u)
		if again {
			return err
		}
	}
}

func isLost(err error) bool {
	return errors.Is(err, godbus.ErrClosed) || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

func (l *link) StartTransientUnitContext(ctx context.Context, name, mode string, properties []dbus.Property, done chan<- string) (job int, err error) {
	err = l.call(ctx, func(u Units) error {
		job, err = u.StartTransientUnitContext(ctx, name, mode, properties, done)
		return err
	})
	return job, err
}

func (l *link) SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...dbus.Property) error {
	return l.call(ctx, func(u Units) error { return u.SetUnitPropertiesContext(ctx, name, runtime, properties...) })
}

func (l *link) StopUnitContext(ctx context.Context, name, mode string, done chan<- string) (job int, err error) {
	err = l.call(ctx, func(u Units) error {
		job, err = u.StopUnitContext(ctx, name, mode, done)
		return err
	})
	return job, err
}
