package balancer

import (
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Health is what is known of an API server.
type Health int

// What may be known of one.
const (
	_       Health = iota
	Unknown        // it has not been asked yet
	Ready          // it says it is
	Unready        // it says it is not, or takes connections and says nothing
	Down           // it takes no connections
)

// String returns a word for logs and figures.
func (h Health) String() string {
	return [...]string{"", "unknown", "ready", "unready", "down"}[h]
}

// A server is one API server.
//
//	          answers           says it is not ready, or nothing
//	Unknown ──────────► Ready ───────────────────────────────────► Unready
//	   │                 ▲  ▲                                        │  │
//	   │ does not answer │  └────────────── says it is ready ────────┘  │
//	   └──────────────► Down ◄──────────────────────────────────────────┘
type server struct {
	address string        // "192.0.2.10:6443"
	poke    chan struct{} // has its watch look at once

	// What follows is guarded by the balancer's lock.
	watched bool // its watch is started
	dropped bool // nobody knows it any more: its watch ends
	local   bool // it is on this host
	listed  bool // the cluster lists it
	left    time.Time
	seed    bool
	health  Health
	since   time.Time // when it came to be so
	reason  error     // why it is not ready
	links   map[*link]bool
}

func newServer(address string, local bool, now time.Time) *server {
	return &server{
		address: address, local: local, poke: make(chan struct{}, 1), health: Unknown, since: now, links: map[*link]bool{},
	}
}

func (s *server) view() view {
	return view{address: s.address, local: s.local, listed: s.listed, health: s.health, since: s.since}
}

// look has its watch ask it now.
func (s *server) look() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// report notes what was found out about a server.
func (b *Balancer) report(s *server, health Health, reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := s.health
	s.reason = reason
	if was == health {
		return
	}
	now := time.Now()
	s.health, s.since = health, now
	b.log(s, was)
	b.told = b.told && health != Ready
	if was == Down && health == Ready {
		// Whoever was connected before may wait for one that knows nothing of it.
		cut(s)
	}
	b.choose(now)
	b.broadcast()
}

// log tells what is worth knowing of a change.
func (b *Balancer) log(s *server, was Health) {
	attrs := []any{slog.String("server", s.address), slog.String("health", s.health.String())}
	switch {
	case s.health == Ready:
		b.o.Log.Info("API server is ready", attrs...)
	case was == Ready:
		b.o.Log.Warn("API server is not ready", append(attrs, slog.Any("err", s.reason))...)
	default:
		b.o.Log.Debug("API server is not ready", append(attrs, slog.Any("err", s.reason))...)
	}
}

// broadcast wakes who waits for a change.
func (b *Balancer) broadcast() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// choose makes the best server the one in use, and closes connections to those
// that others have taken over from.
func (b *Balancer) choose(now time.Time) {
	views := make([]view, len(b.servers))
	for i, s := range b.servers {
		views[i] = s.view()
	}
	was := ""
	if b.current != nil {
		was = b.current.address
	}
	use, again := choose(views, was, b.o.Node, now)
	if again != b.again {
		b.again = again
		b.wake()
	}
	if use != was {
		b.use(use, was)
	}
	if b.current == nil || b.current.health != Ready {
		return // there is nowhere better to go
	}
	for _, s := range b.servers {
		if s.health == Down || s.health == Unready {
			cut(s)
		}
	}
}

// use goes over to another server.
func (b *Balancer) use(address, was string) {
	i := slices.IndexFunc(b.servers, func(s *server) bool { return s.address == address })
	if i < 0 {
		b.current = nil
		return
	}
	old := b.current
	b.current = b.servers[i]
	b.switches++
	b.o.Log.Info("API server in use", slog.String("server", address), slog.String("before", was))
	if old != nil {
		cut(old)
	}
	b.current.look() // it is watched closely from now on
}

// cut closes the connections to a server.
func cut(s *server) {
	for l := range s.links {
		l.close()
	}
}

// A Server is what is known of an API server, to be shown.
type Server struct {
	Address     string
	Health      Health
	Reason      error // why it is not ready
	InUse       bool
	Connections int
}

// Servers returns what is known, by address, and how often another API server
// came to be used.
func (b *Balancer) Servers() (all []Server, switches int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.servers {
		all = append(all, Server{s.address, s.health, s.reason, s == b.current, len(s.links)})
	}
	return all, b.switches
}

// onThisHost says whether an address is one of this host's.
func onThisHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(own, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr().Unmap() == ip.Unmap()
	})
}
