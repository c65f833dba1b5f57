package kubelet

import (
	"maps"
	"sync"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// Looks are the states in which workers saw sandboxes and containers last. Most
// events of the engine tell of what a worker has just done and looked at: a look
// that can find nothing new is not taken, which is half of them while pods start.
// The zero looks are of nothing.
type looks struct {
	mu   sync.Mutex                       // guards seen
	seen map[pod.Key]map[string]pod.State // by key and ID; none of a key that has nothing
}

// saw notes what the worker of a key was shown.
func (l *looks) saw(key pod.Key, have pod.Observed) {
	states := have.States()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(states) == 0 {
		delete(l.seen, key)
		return
	}
	if l.seen == nil {
		l.seen = map[pod.Key]map[string]pod.State{}
	}
	l.seen[key] = states
}

// news reports whether a look may find something that the last one did not. What
// is made is none: its worker made it, and looks when that is done. Nor is what a
// sandbox or container has gone through before it came to how it was seen: no
// state ever comes back.
func (l *looks) news(n runtime.News) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen, known := l.seen[n.Key]
	was, there := seen[n.ID]
	switch {
	case n.ID == "" || n.State == pod.Unknown || was == pod.Unknown:
		return true
	case n.State == pod.Created:
		return false
	case !there:
		return !known || n.State != ""
	}
	return age(n.State) > age(was)
}

// age orders the states of a sandbox or container, the last that it is gone.
func age(s pod.State) int {
	switch s {
	case pod.Created:
		return 0
	case pod.Running:
		return 1
	case pod.Exited:
		return 2
	default:
		return 3
	}
}

// differ reports whether a list shows a key otherwise than it was seen.
func (l *looks) differ(key pod.Key, states map[string]pod.State) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !maps.Equal(l.seen[key], states)
}

// missing returns the keys of which something was seen and nothing is listed.
func (l *looks) missing(all map[pod.Key]runtime.Summary) []pod.Key {
	l.mu.Lock()
	defer l.mu.Unlock()
	var keys []pod.Key
	for key := range l.seen {
		if _, ok := all[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}
