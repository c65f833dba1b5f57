package phases

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var errNotAsked = errors.New("not asked yet")

// A watcher remembers what was heard and seen while waiting.
type watcher struct {
	probes     []probe
	last       []error // of each probe; nil: healthy
	containers []Component
	lookErr    error
	looked     bool
	begun      time.Time        // of the run that waits
	counts     map[string]count // by pod and container
	told, why  string
}

// A count is how often a container was seen to end.
type count struct {
	uid     string // of the pod
	ignored int    // before the run that waits began, or the pod came back
}

func newWatcher(probes []probe, begun time.Time) *watcher {
	w := &watcher{probes: probes, begun: begun, counts: map[string]count{}}
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
// ended too often to be waited for, and how often: empty if there is none. One that
// has been started once more may yet become healthy, or else its end will say why.
func (w *watcher) saw(s sight) (string, int) {
	w.containers, w.lookErr, w.looked = s.containers, s.err, true
	for _, c := range s.containers {
		if n := w.crashes(c); n >= maxExits && c.State == ContainerExited && w.sick(c.Pod) {
			return c.Pod, n
		}
	}
	return "", 0
}

// crashes returns how often a container has ended that counts: all ends of a pod
// that this run brought about, and of an older one those from the first look on. A
// manifest that is put back brings its pod back under its UID: what had become of
// that before is no end of this one.
func (w *watcher) crashes(c Component) int {
	key := c.Pod + "/" + c.Container
	n, known := w.counts[key]
	switch {
	case known && n.uid == c.PodUID:
	case known || !c.PodSince.Before(w.begun):
		n = count{c.PodUID, c.Before}
	default:
		n = count{c.PodUID, c.exits()}
	}
	w.counts[key] = n
	return c.exits() - n.ignored
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
func (w *watcher) awaited() string { return strings.Join(w.pods(), ", ") }

// pods are those that are not healthy yet.
func (w *watcher) pods() []string {
	var pods []string
	for i, err := range w.last {
		if err != nil {
			pods = append(pods, w.probes[i].pod)
		}
	}
	return pods
}

// tell reports what is awaited and why, once for each change.
func (w *watcher) tell(ctx context.Context) {
	if text := w.awaited(); text != w.told {
		w.told = text
		if text != "" { // all are well, and only to stay so
			awaiting(ctx, w.pods())
		}
	}
	if text := w.cause(); text != w.why {
		w.why = text
		because(ctx, text)
	}
}

// cause says what keeps the first component that is not healthy: that it has no
// container, what its container does, or what it answers.
func (w *watcher) cause() string {
	pod := w.first()
	if pod == "" || !w.looked {
		return ""
	}
	own := w.containersOf(pod)
	switch {
	case w.lookErr != nil:
		return fmt.Sprintf("the containers cannot be looked at: %v", w.lookErr)
	case len(own) == 0:
		return pod + " has no container yet"
	case own[0].State != ContainerRunning:
		return fmt.Sprintf("%s: %s", pod, own[0])
	case errors.Is(w.lastError(pod), errNotAsked):
		return ""
	}
	return fmt.Sprintf("%s: %v", pod, w.lastError(pod))
}
