package news

import (
	"sync"
	"testing"
)

// heard reports whether there is something on the channel, which it takes.
func heard(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestNews(t *testing.T) {
	var n News
	n.Tell() // to nobody
	a, stopA := n.Listen()
	b, stopB := n.Listen()
	if heard(a) || heard(b) {
		t.Error("heard of what was before")
	}
	n.Tell()
	n.Tell() // blocks nobody, though nobody has taken the first
	if !heard(a) || heard(a) {
		t.Error("many changes at a time are not one")
	}
	n.Tell()
	if !heard(a) || !heard(b) {
		t.Error("not heard of")
	}
	stopA()
	stopA()
	n.Tell()
	if heard(a) || !heard(b) {
		t.Error("who stopped hears on, or the other does not")
	}
	stopB()
	if len(n.waiting) != 0 {
		t.Errorf("%d are kept that have stopped", len(n.waiting))
	}
}

// Whoever looks after having heard sees the last change, however fast they come.
func TestTheLastChangeIsHeardOf(_ *testing.T) {
	const last = 1000
	var n News
	var mu sync.Mutex
	value := 0
	changed, stop := n.Listen()
	defer stop()
	go func() {
		for range last {
			mu.Lock()
			value++
			mu.Unlock()
			n.Tell()
		}
	}()
	for seen := 0; seen < last; {
		<-changed
		mu.Lock()
		seen = value
		mu.Unlock()
	}
}
