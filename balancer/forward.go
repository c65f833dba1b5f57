package balancer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// holding is how long a connection waits for a server that is ready: clients
	// give up on a handshake after ten seconds.
	holding = 5 * time.Second
	// desperate is how long servers that are not ready are tried after that.
	desperate = 3 * time.Second
)

// A link is a connection that is forwarded.
type link struct{ client, server *net.TCPConn }

// close ends it for both sides at once.
func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// carry forwards a connection until both sides have ended it. One that nobody
// takes is refused in the end, as if nobody had listened.
func (b *Balancer) carry(ctx context.Context, client *net.TCPConn) {
	conn, s := b.connect(ctx)
	if conn == nil {
		_ = client.SetLinger(0)
		_ = client.Close()
		return
	}
	l := &link{client, conn}
	defer l.close()
	b.note(s, l)
	defer b.forget(s, l)
	defer context.AfterFunc(ctx, l.close)()
	var g sync.WaitGroup
	g.Go(func() { l.copy(conn, client) })
	l.copy(client, conn)
	g.Wait()
}

// copy forwards one direction, in the kernel. That one side has said all it had
// to say ends only its own direction.
func (l *link) copy(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		l.close()
		return
	}
	_ = to.CloseWrite() // fails if that side has gone, which the other direction sees
}

func (b *Balancer) note(s *server, l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.links[l] = true
	if s.dropped || s.health == Down {
		l.close() // it was found dead while it was connected to
	}
}

func (b *Balancer) forget(s *server, l *link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(s.links, l)
}

// connect connects to the best server there is. It waits a while for one that is
// ready: that comes sooner than the next attempt of whoever is turned away.
func (b *Balancer) connect(ctx context.Context) (*net.TCPConn, *server) {
	patient, cancel := context.WithTimeout(ctx, holding)
	defer cancel()
	tried := map[*server]bool{}
	for {
		s, changed := b.next(tried)
		if s == nil {
			select {
			case <-changed:
				clear(tried)
				continue
			case <-patient.Done():
				return b.anybody(ctx)
			}
		}
		if conn := b.dial(patient, s); conn != nil {
			return conn, s
		}
		tried[s] = true
	}
}

// next returns a server that is ready and not tried yet, the one in use first,
// nil if there is none; then changed is closed once more is known.
func (b *Balancer) next(tried map[*server]bool) (s *server, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return nil, b.changed
	}
	if !tried[b.current] && b.current.health == Ready {
		return b.current, b.changed
	}
	for _, v := range b.ranked() {
		if !tried[v] && v.health == Ready {
			return v, b.changed
		}
	}
	return nil, b.changed
}

// ranked returns the servers, the best first.
func (b *Balancer) ranked() []*server {
	views, by := make([]view, 0, len(b.servers)), map[string]*server{}
	for _, s := range b.servers {
		views, by[s.address] = append(views, s.view()), s
	}
	all := make([]*server, 0, len(views))
	for _, v := range ranking(views, b.o.Node) {
		all = append(all, by[v.address])
	}
	return all
}

// anybody connects to whoever takes a connection, ready or not.
func (b *Balancer) anybody(ctx context.Context) (*net.TCPConn, *server) {
	ctx, cancel := context.WithTimeout(ctx, desperate)
	defer cancel()
	b.mu.Lock()
	all := b.ranked()
	b.tellNone(all)
	b.mu.Unlock()
	for _, s := range all {
		if conn := b.dial(ctx, s); conn != nil {
			return conn, s
		}
	}
	return nil, nil
}

// tellNone says, once until there is one, why no server is ready.
func (b *Balancer) tellNone(all []*server) {
	if b.told {
		return
	}
	b.told = true
	why := make([]string, 0, len(all))
	for _, s := range all {
		why = append(why, fmt.Sprintf("%s is %s: %v", s.address, s.health, s.reason))
	}
	b.o.Log.Warn("no API server is ready", slog.Any("servers", why))
}

// dial connects to a server. One that does not take the connection is looked at,
// and one whose host says that nobody listens there is dead.
func (b *Balancer) dial(ctx context.Context, s *server) *net.TCPConn {
	conn, err := (&net.Dialer{Timeout: dialPatience}).DialContext(ctx, "tcp", s.address)
	if err == nil {
		if tcp, ok := conn.(*net.TCPConn); ok {
			return tcp
		}
		_ = conn.Close()
		return nil
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		b.report(s, Down, err)
	}
	s.look()
	return nil
}
