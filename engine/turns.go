package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Turns are who may work now: the most urgent first, and of what nobody waits for
// yet one at a time, because what it would be faster for is starting beside it.
type turns struct {
	mu      sync.Mutex // guards what follows
	free    int
	all     int
	waiting []*turn // the most urgent first
}

// A turn is a place in the line, then at work.
type turn struct {
	rank, slots int
	now         chan struct{} // closed when it may begin
}

func newTurns(n int) *turns { return &turns{free: n, all: n} }

// line takes a place in the line for work of a rank, see urgency. Who has one
// waits for it or ends it.
func (t *turns) line(rank int) *turn {
	w := &turn{rank: rank, slots: 1, now: make(chan struct{})}
	if rank > apiServerRank {
		w.slots = t.all
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at, _ := slices.BinarySearchFunc(t.waiting, rank+1, func(o *turn, rank int) int { return cmp.Compare(o.rank, rank) })
	t.waiting = slices.Insert(t.waiting, at, w)
	t.next()
	return w
}

// wait returns once it is the turn's time; if ctx ends first it is none any more.
func (t *turns) wait(ctx context.Context, w *turn) error {
	select {
	case <-w.now:
		return nil
	case <-ctx.Done():
		t.end(w)
		return ctx.Err()
	}
}

// end gives up a turn that is at work or still waits.
func (t *turns) end(w *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, w); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	} else {
		t.free += w.slots
	}
	t.next()
}

// next lets those begin whose time it is. Nobody overtakes a more urgent one, not
// even where there would be room. It is called with mu held.
func (t *turns) next() {
	for len(t.waiting) > 0 && t.waiting[0].slots <= t.free {
		w := t.waiting[0]
		t.waiting = t.waiting[1:]
		t.free -= w.slots
		close(w.now)
	}
}
