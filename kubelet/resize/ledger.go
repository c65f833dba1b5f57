package resize

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/atomicfile"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// A Ledger keeps what pods of the API were allocated, and what their containers
// run with. Its methods may be called from any goroutine; what they note is on
// disk soon after, while Run runs. Of static pods it keeps nothing.
type Ledger struct {
	allocated, applied string // files
	log                *slog.Logger
	refuse             func(p, was *v1.Pod) string
	dirty              chan struct{}     // capacity 1
	written            map[string][]byte // by file; owned by save

	mu    sync.Mutex // guards what follows
	gave  map[types.UID]info
	runs  map[types.UID]info
	since map[types.UID]int64           // generation of the latest allocation, where there was a resize
	holds map[types.UID]*status.Pending // resizes that wait
	order int                           // of holds
	turns map[types.UID]int             // since when, in order
}

// Open returns a Ledger with what an earlier process left in a directory, which
// is /var/lib/kubelet. A file that cannot be read is told of: its pods are
// allocated what they ask for.
//
// refuse says why a pod can never have other resources than it was allocated, as long as
// it runs here: "" if it can. It may be nil.
func Open(dir string, refuse func(p, was *v1.Pod) string, log *slog.Logger) *Ledger {
	if refuse == nil {
		refuse = func(_, _ *v1.Pod) string { return "" }
	}
	l := &Ledger{
		refuse:    refuse,
		allocated: filepath.Join(dir, "allocated_pods_state"), applied: filepath.Join(dir, "actuated_pods_state"),
		log: log, dirty: make(chan struct{}, 1), written: map[string][]byte{},
		since: map[types.UID]int64{}, holds: map[types.UID]*status.Pending{}, turns: map[types.UID]int{},
	}
	l.gave, l.runs = l.load(l.allocated), l.load(l.applied)
	return l
}

func (l *Ledger) load(path string) map[types.UID]info {
	all, err := load(path)
	if err != nil {
		l.log.Error("allocations of resources are lost", slog.Any("err", err))
		return map[types.UID]info{}
	}
	return all
}

// soon is how long changes are gathered: pods that come together are written
// together.
const soon = 100 * time.Millisecond

// Run writes what changes until ctx ends.
func (l *Ledger) Run(ctx context.Context) {
	defer l.save()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(soon):
			l.save()
		}
	}
}

// save writes what differs from what was written last. It is called by one
// goroutine at a time.
func (l *Ledger) save() {
	l.mu.Lock()
	gave, runs := maps.Clone(l.gave), maps.Clone(l.runs)
	l.mu.Unlock()
	for path, all := range map[string]map[types.UID]info{l.allocated: gave, l.applied: runs} {
		text, err := encode(all)
		if err == nil && bytes.Equal(text, l.written[path]) {
			continue
		}
		if err == nil {
			err = atomicfile.Write(path, text, 0o600)
		}
		if err != nil {
			l.log.Warn("allocations of resources may be lost by a restart", slog.Any("err", err))
			continue
		}
		l.written[path] = text
	}
}

// changed asks for what there is to be written. mu must be held.
func (l *Ledger) changed() {
	select {
	case l.dirty <- struct{}{}:
	default:
	}
}

// Allocated returns p with the resources it was allocated. One that never was
// any is allocated what it asks for.
func (l *Ledger) Allocated(p *v1.Pod) *v1.Pod {
	uid, ok := tracked(p)
	if !ok {
		return p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.gave[uid]
	if !known {
		l.gave[uid] = infoOf(p)
		l.changed()
		return p
	}
	return was.on(p)
}

// Allocate notes that p has what it asks for.
func (l *Ledger) Allocate(p *v1.Pod) {
	uid, ok := tracked(p)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if was, known := l.gave[uid]; known && !equality.Semantic.DeepEqual(was, infoOf(p)) {
		l.since[uid] = p.Generation
	}
	l.gave[uid] = infoOf(p)
	l.changed()
}

// Starts notes that a container of p is about to start, with what p has for it;
// "" is the pod's sandbox.
func (l *Ledger) Starts(p *v1.Pod, container string) { l.note(p, []string{container}, container == "") }

// Resized notes that running containers of p, and p itself, were given what p
// has for them.
func (l *Ledger) Resized(p *v1.Pod, containers []pod.Instance) {
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	l.note(p, names, true)
}

func (l *Ledger) note(p *v1.Pod, containers []string, whole bool) {
	uid, ok := tracked(p)
	if !ok {
		return
	}
	now := infoOf(p)
	l.mu.Lock()
	defer l.mu.Unlock()
	next := info{ContainerResources: map[string]v1.ResourceRequirements{}, PodLevelResources: l.runs[uid].PodLevelResources}
	maps.Copy(next.ContainerResources, l.runs[uid].ContainerResources)
	for _, name := range containers {
		if r, known := now.ContainerResources[name]; known {
			next.ContainerResources[name] = r
		}
	}
	if whole {
		next.PodLevelResources = now.PodLevelResources
	}
	if !equality.Semantic.DeepEqual(next, l.runs[uid]) {
		l.runs[uid] = next
		l.changed()
	}
}

// Applied returns what the containers of a pod were given last, by name; "" is
// the pod itself, where it has resources of its own. It must not be changed.
func (l *Ledger) Applied(uid types.UID) map[string]v1.ResourceRequirements {
	l.mu.Lock()
	defer l.mu.Unlock()
	is, known := l.runs[uid]
	if !known {
		return nil
	}
	all := maps.Clone(is.ContainerResources)
	if is.PodLevelResources != nil {
		all[""] = *is.PodLevelResources
	}
	return all
}

// State returns how far a resize of a pod has come.
func (l *Ledger) State(uid types.UID) status.Resize {
	l.mu.Lock()
	defer l.mu.Unlock()
	return status.Resize{Pending: l.holds[uid], Generation: l.since[uid]}
}

// setPending notes why a resize waits, nil if none does, and reports whether
// that is news.
func (l *Ledger) setPending(uid types.UID, why *status.Pending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.holds[uid]
	if why == nil {
		delete(l.holds, uid)
		delete(l.turns, uid)
		return was != nil
	}
	if was == nil {
		l.order++
		l.turns[uid] = l.order
	}
	l.holds[uid] = why
	return was == nil || *was != *why
}

// waiting returns when a resize began to wait, compared to others; later than
// all of them if it has not.
func (l *Ledger) waiting(uid types.UID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if turn, waits := l.turns[uid]; waits {
		return turn
	}
	return l.order + 1
}

// Keep forgets all pods but these.
func (l *Ledger) Keep(keep map[types.UID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uid := range l.gave {
		if !keep[uid] {
			l.forget(uid)
		}
	}
	for uid := range l.runs {
		if !keep[uid] {
			l.forget(uid)
		}
	}
}

// Forget forgets a pod that is gone.
func (l *Ledger) Forget(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(uid)
}

func (l *Ledger) forget(uid types.UID) {
	_, gave := l.gave[uid]
	_, runs := l.runs[uid]
	delete(l.gave, uid)
	delete(l.runs, uid)
	delete(l.since, uid)
	delete(l.holds, uid)
	delete(l.turns, uid)
	if gave || runs {
		l.changed()
	}
}
