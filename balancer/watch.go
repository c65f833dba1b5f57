package balancer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How often servers are asked. That a host has vanished is found out within
// pingEvery + pingPatience + reachPatience = 1.5 s.
const (
	pingEvery     = 500 * time.Millisecond // the one in use
	pingPatience  = 300 * time.Millisecond // then its host is asked, too
	reachPatience = 700 * time.Millisecond // then that is taken for dead
	readyEvery    = 5 * time.Second        // the one in use, whether it is ready
	alonePing     = 30 * time.Second       // the one in use if there is no other to leave it for,
	aloneReady    = 15 * time.Second       // and whether it is ready
	doubtEvery    = time.Second            // one that was ready and said that it is not
	readyPatience = 3 * time.Second        // for an answer
	idleEvery     = 15 * time.Second       // others that are known to the cluster
	formerEvery   = time.Minute            // those that are not
	localEvery    = 2 * time.Second        // this host's own
	soon          = 100 * time.Millisecond // while there is none to use: at first,
	later         = time.Second            // and at last;
	laterLocal    = 250 * time.Millisecond // this host's own may be about to start
	// forbidden is how long a server that nobody may ask is taken for one that has
	// not read its rules yet.
	forbidden = 10 * time.Second
)

// A watch asks one server how it is.
type watch struct {
	b         *Balancer
	s         *server
	refused   time.Time     // since when nobody may ask it
	searching time.Duration // how long the last pause was, while there was none to use
}

// watch asks a server until ctx ends or nobody knows it any more.
func (b *Balancer) watch(ctx context.Context, s *server) {
	w := &watch{b: b, s: s}
	for {
		w.look(ctx)
		pause, on := w.pause()
		if !on {
			return
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-s.poke:
		case <-t.C:
		}
		t.Stop()
	}
}

// look asks the server once; one that is in use for as long as it is.
func (w *watch) look(ctx context.Context) {
	conn, err := w.b.o.open(ctx, w.s.address)
	switch {
	case ctx.Err() != nil:
		if err == nil {
			conn.Close()
		}
		return
	case unreachable(err):
		w.b.report(w.s, Down, err)
		return
	case err != nil:
		w.b.report(w.s, Unready, err)
		return
	}
	defer conn.Close()
	if !w.ready(ctx, conn) || !w.used() {
		return
	}
	w.attend(ctx, conn)
}

// attend stays with a server that is in use, and returns when it is to be
// connected to anew. A server that vanishes answers neither of two questions, and
// the first to find out ends the other.
func (w *watch) attend(ctx context.Context, conn asked) {
	ctx, cancel := context.WithCancel(ctx)
	var g sync.WaitGroup
	g.Go(func() {
		defer cancel()
		w.ping(ctx, conn)
	})
	for ready := true; ready && every(ctx, w.b.readyPause(), nil); {
		ready = w.ready(ctx, conn)
	}
	cancel()
	g.Wait()
}

// ping pings a server until it does not answer or is not in use any more.
func (w *watch) ping(ctx context.Context, conn asked) {
	for every(ctx, w.b.pingPause(), w.s.poke) && w.used() {
		err := w.answers(ctx, conn)
		switch {
		case ctx.Err() != nil:
			return
		case unreachable(err):
			w.b.report(w.s, Down, err)
			return
		case errors.Is(err, errHung):
			w.b.report(w.s, Unready, err)
			return
		case err != nil:
			return // it has hung up, for whatever reason: it is connected to anew
		}
	}
}

// pingPause returns how long a server in use is left in peace. The only one there is
// is asked whether it is ready, which tells soon enough that it is gone: there is
// nowhere to go, and whoever wants to connect finds out by himself.
func (b *Balancer) pingPause() time.Duration {
	if b.hasOne() {
		return alonePing
	}
	return pingEvery
}

// readyPause returns when a server in use is asked again whether it is ready.
func (b *Balancer) readyPause() time.Duration {
	if b.hasOne() {
		return aloneReady
	}
	return readyEvery
}

// hasOne reports whether there is only one server.
func (b *Balancer) hasOne() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.servers) == 1
}

// errHung is of a server whose host lives, and that says nothing.
var errHung = fmt.Errorf("it takes connections and has said nothing for %s", hungPatience)

// answers returns nil if the server answers a ping. One that does not soon may be
// busy, and is given time, as long as its host takes connections.
func (w *watch) answers(ctx context.Context, conn asked) error {
	ctx, cancel := context.WithTimeoutCause(ctx, hungPatience, errHung)
	defer cancel()
	pong, reached := make(chan error, 1), make(chan error, 1)
	go func() { pong <- conn.Ping(ctx) }()
	doubt := time.NewTimer(pingPatience)
	defer doubt.Stop()
	for {
		select {
		case err := <-pong:
			if err != nil && errors.Is(context.Cause(ctx), errHung) {
				return errHung
			}
			return err
		case <-doubt.C:
			go func() { reached <- w.b.o.reach(w.s.address) }()
		case err := <-reached:
			if err != nil {
				return err
			}
		}
	}
}

// ready asks whether the server is, and reports it. One that was gets a second
// chance.
func (w *watch) ready(ctx context.Context, conn asked) bool {
	err := w.ask(ctx, conn)
	if err != nil && w.was(Ready) && every(ctx, doubtEvery, nil) {
		err = w.ask(ctx, conn)
	}
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		w.b.report(w.s, Unready, err)
	default:
		w.b.report(w.s, Ready, nil)
	}
	return err == nil
}

func (w *watch) ask(ctx context.Context, conn asked) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	err := conn.Ready(ctx)
	if !errors.Is(err, errForbidden) {
		w.refused = time.Time{}
		return err
	}
	now := time.Now()
	if w.refused.IsZero() {
		w.refused = now
	}
	if now.Sub(w.refused) < forbidden && !w.was(Ready) {
		return err
	}
	return nil
}

// pause returns when to ask again, and whether to.
func (w *watch) pause() (pause time.Duration, on bool) {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	s := w.s
	if s.dropped {
		return 0, false
	}
	if w.b.current == nil || w.b.current.health != Ready {
		longest := later
		if s.local {
			longest = laterLocal
		}
		w.searching = min(max(soon, w.searching*5/4), longest)
		return w.searching, true
	}
	w.searching = 0
	switch {
	case s == w.b.current:
		return 0, true
	case s.local:
		return localEvery, true
	case s.listed:
		return idleEvery, true
	}
	return formerEvery, true
}

func (w *watch) used() bool {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.s == w.b.current && !w.s.dropped
}

func (w *watch) was(h Health) bool {
	w.b.mu.Lock()
	defer w.b.mu.Unlock()
	return w.s.health == h
}

// every reports whether d was over, or somebody poked, before ctx was.
func every(ctx context.Context, d time.Duration, poke <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-poke:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
