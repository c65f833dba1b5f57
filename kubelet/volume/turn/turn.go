// Package turn has those who work on one thing take turns, by its name. It
// decides nothing about what the names mean.
package turn

import (
	"context"
	"sync"
)

// Turns are who works on what. The zero value is ready.
type Turns struct {
	mu   sync.Mutex // guards what follows
	held map[string]chan struct{}
}

// Take waits until nobody else works on what the name stands for, or until ctx
// ends. The caller must call done.
func (t *Turns) Take(ctx context.Context, name string) (done func(), err error) {
	for {
		t.mu.Lock()
		busy, ok := t.held[name]
		if !ok {
			defer t.mu.Unlock()
			return t.begin(name), nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// begin notes that the name is worked on. mu is held.
func (t *Turns) begin(name string) (done func()) {
	if t.held == nil {
		t.held = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	t.held[name] = mine
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.held, name)
		close(mine)
	}
}
