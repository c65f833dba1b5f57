package balancer

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

// listenEvery is how often it is tried to listen where somebody else does.
const listenEvery = time.Second

// Listen begins to listen, so that connections wait for Run instead of being
// refused. What fails is tried again by Run.
func (b *Balancer) Listen(ctx context.Context) {
	var missing []string
	for _, address := range b.missing {
		l, err := b.listen(ctx, address)
		switch {
		case l != nil:
			b.listeners = append(b.listeners, l)
		case err != nil:
			b.o.Log.Error("listen for clients of the API", slog.Any("err", err))
			missing = append(missing, address)
		}
	}
	b.missing = missing
}

// listen returns nil and no error for an address that this host does not have.
func (b *Balancer) listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
		return nil, nil
	}
	return l, err
}

// listenLater takes over addresses that others listened at, once they have gone.
func (b *Balancer) listenLater(ctx context.Context, g *sync.WaitGroup) {
	for _, address := range b.missing {
		for every(ctx, listenEvery, nil) {
			if l, err := b.listen(ctx, address); err == nil {
				if l != nil {
					b.o.Log.Info("listen for clients of the API", slog.String("address", address))
					g.Go(func() { b.accept(ctx, l) })
				}
				break
			}
		}
	}
}

// accept takes connections until ctx ends, and waits for them to end then.
func (b *Balancer) accept(ctx context.Context, l net.Listener) {
	var g sync.WaitGroup
	defer g.Wait()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer func() { _ = l.Close() }()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		if err != nil { // such as too many open files
			b.o.Log.Error("take a connection to the API", slog.Any("err", err))
			every(ctx, soon, nil)
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			g.Go(func() { b.carry(ctx, tcp) })
		}
	}
}
