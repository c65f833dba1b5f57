// Package balancer lets a node reach whichever API server lives, without a load
// balancer outside: what runs on the node talks to a port on loopback, and from
// there its connections are forwarded.
//
//	kubelet loop ─┐                       ┌─► API server of this node, if it has one
//	kube-proxy  ──┴─► 127.0.0.1:7443 ─────┼─► another
//	                                      └─► another
//
// It decides which API server is used, when it is left and when it is gone back
// to. Connections are forwarded as they are: TLS, and with it the question who is
// who, stays between the two ends. Where the addresses come from is left to the
// caller; they are remembered on disk, so that a node that restarts finds the
// others when the one it was made with is gone.
//
// All connections go to one API server at a time. It is watched closely, so that
// one that vanishes without a word is left within two seconds; connections to it
// are closed, as those who wait there for an answer would wait for minutes.
package balancer

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Options say between what is balanced, and for whom.
type Options struct {
	// Node is the name of this node: it spreads nodes over the API servers.
	Node string
	// Seeds are API servers known from the start, "host:port".
	Seeds []string
	// File is where learned addresses are remembered. Empty: nowhere.
	File string
	// Listen are the addresses to take connections at. One that this host does
	// not have, as one of IPv6, is left out.
	Listen []string
	// Roots are the authorities an API server of this cluster is known by. Nothing
	// is known of any API server while this is an error.
	Roots func() (*x509.CertPool, error)
	Log   *slog.Logger

	open  opener                     // asks a server, in tests
	reach func(address string) error // connects to a server and hangs up, in tests
	local func(host string) bool     // in tests
}

// A Balancer forwards connections to the API servers it knows.
type Balancer struct {
	o         Options
	listeners []net.Listener
	missing   []string      // addresses not listened on yet; owned by Listen, then by Run
	news      chan struct{} // wakes Run: there are servers nobody watches, or another time to look

	mu       sync.Mutex // guards what follows
	servers  []*server
	current  *server       // nil before one is chosen
	switches int           // times that another server came to be used
	changed  chan struct{} // closed when what is known of the servers changes
	again    time.Time     // when to choose again, whatever happens; zero: not at all
	told     bool          // that none is ready
}

// New returns a balancer that knows the seeds and what the file remembers.
func New(o Options) *Balancer {
	if o.open == nil {
		o.open = session{o.Roots}.open
	}
	if o.reach == nil {
		o.reach = reach
	}
	if o.local == nil {
		o.local = onThisHost
	}
	b := &Balancer{o: o, missing: o.Listen, changed: make(chan struct{}), news: make(chan struct{}, 1)}
	b.recall(time.Now())
	return b
}

// Run forwards connections until ctx ends, and closes them then.
func (b *Balancer) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	defer g.Wait()
	defer cancel()
	b.Listen(ctx)
	for _, l := range b.listeners {
		g.Go(func() { b.accept(ctx, l) })
	}
	g.Go(func() { b.listenLater(ctx, &g) })
	for {
		for _, s := range b.unwatched() {
			g.Go(func() { b.watch(ctx, s) })
		}
		wake, stop := b.alarm()
		select {
		case <-b.news:
		case <-wake:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
		b.settle()
	}
}

// alarm returns when to choose again, nil for never.
func (b *Balancer) alarm() (wake <-chan time.Time, stop func()) {
	b.mu.Lock()
	again := b.again
	b.mu.Unlock()
	if again.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(again))
	return t.C, func() { t.Stop() }
}

// unwatched returns servers that are new.
func (b *Balancer) unwatched() []*server {
	b.mu.Lock()
	defer b.mu.Unlock()
	var fresh []*server
	for _, s := range b.servers {
		if !s.watched {
			s.watched = true
			fresh = append(fresh, s)
		}
	}
	return fresh
}

// settle chooses by what is known now.
func (b *Balancer) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.choose(time.Now())
}

// wake has Run look again.
func (b *Balancer) wake() {
	select {
	case b.news <- struct{}{}:
	default:
	}
}
