// Package news wakes whoever waits for something to change.
//
// It decides that those who wait hear of a change at least once after it, however
// many there are at a time, and that nobody who tells of one waits for them. What
// has changed they look for themselves: news carry no data.
package news

import "sync"

// News are of one thing that changes. The zero value is ready. The methods may be
// called from any goroutine.
type News struct {
	mu      sync.Mutex             // guards waiting
	waiting map[chan struct{}]bool // each of capacity 1
}

// Tell says that there may be a change. It never blocks, and costs next to nothing
// while nobody listens.
func (n *News) Tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.waiting {
		select {
		case w <- struct{}{}:
		default: // it has yet to hear of the one before
		}
	}
}

// Listen returns a channel on which there is something once there has been a change
// since the last time that something was taken from it, or since Listen. It is never
// closed. Whoever listens calls stop in the end.
func (n *News) Listen() (changed <-chan struct{}, stop func()) {
	w := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[chan struct{}]bool{}
	}
	n.waiting[w] = true
	return w, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waiting, w)
	}
}
