package balancer

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A world is API servers that behave as they are told.
type world struct {
	mu    sync.Mutex
	state map[string]string // by address: ready, unready, forbidden, refused, hung, busy, gone
	opens map[string]int
	pings map[string]int // also those that go with a question
}

func newWorld(states map[string]string) *world {
	return &world{state: states, opens: map[string]int{}, pings: map[string]int{}}
}

func (w *world) set(address, state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state[address] = state
}

func (w *world) of(address string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state[address]
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func (w *world) open(ctx context.Context, address string) (asked, error) {
	if err := w.dial(ctx, address, dialPatience); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opens[address]++
	return conn{w, address}, nil
}

func (w *world) reach(address string) error {
	return w.dial(context.Background(), address, reachPatience)
}

func (w *world) dial(ctx context.Context, address string, patience time.Duration) error {
	switch w.of(address) {
	case "refused":
		return refused()
	case "gone":
		every(ctx, patience, nil)
		return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("timed out")}
	}
	return nil
}

// conn is a connection to one of them.
type conn struct {
	w       *world
	address string
}

func (c conn) Close() {}

func (c conn) Ping(ctx context.Context) error {
	c.w.mu.Lock()
	c.w.pings[c.address]++
	c.w.mu.Unlock()
	switch c.w.of(c.address) {
	case "refused":
		return errors.New("EOF")
	case "gone", "hung":
		<-ctx.Done()
		return ctx.Err()
	case "busy":
		every(ctx, 2*time.Second, nil)
		return ctx.Err()
	}
	return nil
}

func (c conn) Ready(ctx context.Context) error {
	if err := c.Ping(ctx); err != nil {
		return err
	}
	switch c.w.of(c.address) {
	case "unready":
		return errors.New("500: [-]etcd failed")
	case "forbidden":
		return errForbidden
	}
	return nil
}

// balance runs a balancer in a world until the test ends.
func (w *world) balance(t *testing.T, o Options) *Balancer {
	t.Helper()
	o.Node, o.Log, o.open, o.reach = "node1", slogTo(t), w.open, w.reach
	if o.local == nil {
		o.local = func(host string) bool { return host == "local" }
	}
	b := New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

// inUse returns the server in use, once everybody waits for something.
func inUse(b *Balancer) string {
	synctest.Wait()
	all, _ := b.Servers()
	for _, s := range all {
		if s.InUse {
			return s.Address
		}
	}
	return ""
}

// slogTo has a test show what is logged.
func slogTo(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func noRoots() (*x509.CertPool, error) { return x509.NewCertPool(), nil }
