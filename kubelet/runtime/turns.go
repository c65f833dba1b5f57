package runtime

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// startsAtOnce is how many sandboxes and containers are being started at a
// time. Each keeps several processes busy: with all of them at once, as when a
// node with many pods comes up, every single one takes longer and so do all.
const startsAtOnce = 8

// patience is how long anything waits for its turn: others that hang, as a
// network plugin may, hold up no pod for long.
const patience = 10 * time.Second

// A rank says who goes first of those that wait for a turn.
type rank int

const (
	_       rank = iota
	goesOn       // a container of a pod that has begun: what is begun is ended first
	begins       // the sandbox of another pod
	noRanks      // how many there are, and one
)

// Turns are had by those that start something, so many at a time.
type turns struct {
	mu    sync.Mutex // guards the fields below
	free  int
	queue [noRanks][]chan struct{} // those that wait, the longest first; closed when it is their turn
	quiet chan struct{}            // closed when the rush is over that began when somebody had to wait; nil without one
}

func newTurns() *turns { return &turns{free: startsAtOnce} }

// take waits for a turn until ctx ends, and reports whether it got one.
func (t *turns) take(ctx context.Context, r rank) bool {
	mine, now := t.join(r)
	if now {
		return true
	}
	select {
	case <-mine:
		return true
	case <-ctx.Done():
		return !t.leave(r, mine) // it may have come this very moment
	}
}

// join has a turn at once if there is one, or else a place among those that wait.
func (t *turns) join(r rank) (mine chan struct{}, now bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.free > 0 {
		t.free--
		return nil, true
	}
	if t.quiet == nil {
		t.quiet = make(chan struct{})
	}
	mine = make(chan struct{})
	t.queue[r] = append(t.queue[r], mine)
	return mine, false
}

// leave gives up a place, and reports whether it still was one.
func (t *turns) leave(r rank, mine chan struct{}) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.queue[r], mine)
	if i < 0 {
		return false
	}
	t.queue[r] = slices.Delete(t.queue[r], i, i+1)
	return true
}

// give hands a turn to whoever is next.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for r := range t.queue {
		if len(t.queue[r]) > 0 {
			close(t.queue[r][0])
			t.queue[r] = t.queue[r][1:]
			return
		}
	}
	if t.free++; t.free == startsAtOnce && t.quiet != nil {
		close(t.quiet)
		t.quiet = nil
	}
}

// turn waits until something may be started. The caller must call done.
func (r *Runtime) turn(ctx context.Context, as rank) (done func(), err error) {
	soon, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if r.turns.take(soon, as) {
		return r.turns.give, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("wait for others to start: %w", err)
	}
	return func() {}, nil
}

// Rush returns what is closed once no pod waits for others to start, nor starts itself;
// nil if none had to wait. What can wait as well takes no time from them until then.
func (r *Runtime) Rush() <-chan struct{} {
	r.turns.mu.Lock()
	defer r.turns.mu.Unlock()
	return r.turns.quiet
}

// Quiet returns once such a rush is over, or ctx ends.
func (r *Runtime) Quiet(ctx context.Context) {
	rush := r.Rush()
	if rush == nil {
		return
	}
	select {
	case <-rush:
	case <-ctx.Done():
	}
}
