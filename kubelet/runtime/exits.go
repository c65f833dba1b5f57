package runtime

import (
	"context"
	"sync"
	"time"
)

// exits wakes those who wait for containers to exit when the event stream
// tells so.
type exits struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool // by container ID; guarded by mu
}

// wait registers for the exit of a container. The caller must call done.
func (e *exits) wait(id string) (exited <-chan struct{}, done func()) {
	ch := make(chan struct{}, 1)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.waiting == nil {
		e.waiting = map[string]map[chan struct{}]bool{}
	}
	if e.waiting[id] == nil {
		e.waiting[id] = map[chan struct{}]bool{}
	}
	e.waiting[id][ch] = true
	return ch, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if delete(e.waiting[id], ch); len(e.waiting[id]) == 0 {
			delete(e.waiting, id)
		}
	}
}

// tell wakes those who wait for id.
func (e *exits) tell(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.waiting[id] {
		select {
		case ch <- struct{}{}:
		default: // has been told already
		}
	}
}

// relook is how long an exit goes unnoticed at most while the event stream is
// down.
const relook = 100 * time.Millisecond

// awaitExits returns once none of the containers runs any more, or at the
// deadline (IC-33, IC-34). One the runtime does not know has exited (IC-35).
func (r *Runtime) awaitExits(ctx context.Context, ids []string, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for _, id := range ids {
		r.awaitExit(ctx, id)
	}
}

func (r *Runtime) awaitExit(ctx context.Context, id string) {
	exited, done := r.exits.wait(id)
	defer done()
	tick := time.NewTicker(relook)
	defer tick.Stop()
	for {
		c, err := r.ContainerStatus(ctx, id)
		if isNotFound(err) || err == nil && !mayRun(c.State) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-exited:
		case <-tick.C:
		}
	}
}
