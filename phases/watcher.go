package phases

import (
	"context"
	"errors"
	"slices"
	"strings"
)

var errNotAsked = errors.New("not asked yet")

// A watcher remembers what was heard and seen while waiting.
type watcher struct {
	probes     []probe
	last       []error // of each probe; nil: healthy
	containers []Component
	lookErr    error
	exits      map[string]int // by pod and container: how many were seen last
	crashes    map[string]int // by pod and container: how many came since the first look
	told       string
}

func newWatcher(probes []probe) *watcher {
	w := &watcher{probes: probes, exits: map[string]int{}, crashes: map[string]int{}}
	for range probes {
		w.last = append(w.last, errNotAsked)
	}
	return w
}

func (w *watcher) heard(v verdict) { w.last[v.probe] = v.err }

func (w *watcher) healthy() bool { return w.first() == "" }

// first returns the first component that is not healthy: those after it may
// only be waiting for it.
func (w *watcher) first() string {
	for i, err := range w.last {
		if err != nil {
			return w.probes[i].pod
		}
	}
	return ""
}

// saw takes in a look at the containers, and returns the component that has
// ended too often to be waited for: empty if there is none.
func (w *watcher) saw(s sight) string {
	w.containers, w.lookErr = s.containers, s.err
	for _, c := range s.containers {
		key := c.Pod + "/" + c.Container
		before, known := w.exits[key]
		w.exits[key] = c.exits()
		switch {
		case !known: // ended before anybody waited
		case c.exits() < before: // a new pod in its place
			w.crashes[key] = c.exits()
		default:
			w.crashes[key] += c.exits() - before
		}
		if w.crashes[key] >= maxExits && w.sick(c.Pod) {
			return c.Pod
		}
	}
	return ""
}

func (w *watcher) sick(pod string) bool { return w.lastError(pod) != nil }

func (w *watcher) lastError(pod string) error {
	i := slices.IndexFunc(w.probes, func(p probe) bool { return p.pod == pod })
	if i < 0 {
		return nil
	}
	return w.last[i]
}

// awaited names what is not healthy yet.
func (w *watcher) awaited() string {
	var pods []string
	for i, err := range w.last {
		if err != nil {
			pods = append(pods, w.probes[i].pod)
		}
	}
	return strings.Join(pods, ", ")
}

// tell reports what is awaited, once for each change.
func (w *watcher) tell(ctx context.Context) {
	if text := w.awaited(); text != w.told {
		w.told = text
		waiting(ctx, text)
	}
}
