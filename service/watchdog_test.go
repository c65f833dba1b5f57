package service

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A service manager that wants to know hears of the loop while that is alive, and
// nothing else.
func TestHeartbeat(t *testing.T) {
	manager := listen(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var log bytes.Buffer
	looks := 0
	alive := func(context.Context) error {
		if looks++; looks == 2 {
			return errors.New("the dispatcher does nothing")
		}
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- Heartbeat(ctx, alive, slog.New(slog.NewTextHandler(&log, nil))) }()
	for range 2 {
		if got := hear(t, manager); got != "WATCHDOG=1" {
			t.Errorf("told %q", got)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if looks < 3 || strings.Count(log.String(), "the dispatcher does nothing") != 1 {
		t.Errorf("two messages after %d looks, and logged:\n%s", looks, log.String())
	}
}

// A look that does not come back is given up in time.
func TestHeartbeatGivesUp(t *testing.T) {
	manager := listen(t)
	t.Setenv("WATCHDOG_USEC", "20000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stuck := true
	alive := func(ctx context.Context) error {
		if !stuck {
			return nil
		}
		<-ctx.Done()
		stuck = false
		return ctx.Err()
	}
	ended := make(chan error, 1)
	go func() { ended <- Heartbeat(ctx, alive, slog.New(slog.DiscardHandler)) }()
	hear(t, manager)
	cancel()
	if err := <-ended; err != nil || stuck {
		t.Errorf("told while it was stuck: %v, %v", stuck, err)
	}
}

func TestHeartbeatUnwanted(t *testing.T) {
	never := func(context.Context) error { t.Error("looked"); return nil }
	for usec, bad := range map[string]bool{"": false, "soon": true} {
		t.Setenv("WATCHDOG_USEC", usec)
		if err := Heartbeat(t.Context(), never, slog.New(slog.DiscardHandler)); (err != nil) != bad {
			t.Errorf("every %q: %v", usec, err)
		}
	}
}

// listen is the service manager's end of sd_notify(3).
func listen(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func hear(t *testing.T, from *net.UnixConn) string {
	t.Helper()
	text := make([]byte, 100)
	n, err := from.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}
