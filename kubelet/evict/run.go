package evict

import (
	"context"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Interval is how often the node is looked at when nothing tells of a change.
const Interval = 10 * time.Second

// goneTimeout is how long the end of an evicted pod is waited for before the next
// one is chosen.
const goneTimeout = 30 * time.Second

// Options are what a Watch is made of. All are required that do not say otherwise.
type Options struct {
	Thresholds []Threshold
	Transition time.Duration // evictionPressureTransitionPeriod
	MaxGrace   int64         // evictionMaxPodGracePeriod, seconds
	// NoLimits leaves the limits of local storage alone (localStorageCapacityIsolation).
	NoLimits bool
	// Host says where to look. It is asked once, by Run.
	Host func(ctx context.Context) Host

	// Pods returns those that run and may be evicted: none that is critical.
	Pods func() []*v1.Pod
	// Usage measures pods: their memory and processes or, dearer, files too.
	Usage func(ctx context.Context, files bool) (Usages, error)
	// Free frees what nobody needs.
	Free func(ctx context.Context, s Step) error
	// Evict begins the end of a pod. It must not block.
	Evict func(e Eviction)
	// Gone reports whether nothing of a pod runs any more. Poke tells that it
	// may be another now.
	Gone func(p *v1.Pod) bool
	// Conditions is told which conditions of pressure there are, sorted, whenever
	// that changes. It must not block.
	Conditions func([]v1.NodeConditionType)
	// Starved is told what has to be reclaimed, each time that is tried.
	Starved func(what v1.ResourceName)
	Log     *slog.Logger
}

// A Watch keeps an eye on the node. Its fields are of the goroutine of Run.
type Watch struct {
	o     Options
	poke  chan struct{} // capacity 1
	state State
	now   []v1.NodeConditionType // as told last
	said  string                 // what could not be seen, as told last

	host   Host
	layout Layout
	all    []Threshold // for the layout
	next   time.Time   // when limits of storage are to be looked at again
}

// New returns a Watch that does nothing before Run.
func New(o Options) *Watch { return &Watch{o: o, poke: make(chan struct{}, 1)} }

// Poke asks for a look: something may be short, or have ended. It never blocks.
func (w *Watch) Poke() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// Run watches until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	w.all = w.o.Thresholds
	w.host = w.o.Host(ctx)
	layout, err := w.host.Layout()
	if err != nil {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "file systems of images are taken for the node's", slog.Any("err", err))
	}
	w.layout, w.all = layout, layout.withContainerFS(w.all)
	stop := w.listen(ctx)
	defer stop()
	for {
		wait := w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-w.poke:
		case <-time.After(wait):
		}
	}
}

// look looks once, does what is to be done and returns when to look again.
func (w *Watch) look(ctx context.Context) time.Duration {
	seen := w.see(ctx)
	now := time.Now()
	state, verdict := Assess(w.all, seen, w.state, w.o.Transition, now)
	w.state = state
	w.tell(verdict.Conditions)
	if evicted := w.limits(ctx, now); len(evicted) > 0 {
		w.await(ctx, evicted)
		return 0
	}
	if len(verdict.Starved) > 0 {
		if e := w.reclaim(ctx, verdict.Starved, seen); e != nil {
			w.o.Evict(*e)
			w.await(ctx, []*v1.Pod{e.Pod})
			return 0
		}
	}
	if soon := state.until(w.o.Transition, now); soon > 0 {
		return min(soon, Interval)
	}
	return Interval
}

// see looks at the host. What cannot be seen is told once.
func (w *Watch) see(ctx context.Context) Levels {
	seen, err := w.host.Look()
	said := ""
	if err != nil {
		said = err.Error()
	}
	if said != w.said && err != nil {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot see all that may run out", slog.Any("err", err))
	}
	w.said = said
	return seen
}

func (w *Watch) tell(conditions []v1.NodeConditionType) {
	if !slices.Equal(conditions, w.now) {
		w.now = conditions
		w.o.Conditions(slices.Clone(conditions))
	}
}

// reclaim frees what nobody needs, and returns who has to go if that does not do.
func (w *Watch) reclaim(ctx context.Context, starved []Threshold, seen Levels) *Eviction {
	t := starved[0]
	w.o.Starved(t.Signal.resource())
	if w.free(ctx, t.Signal) {
		return nil
	}
	used := w.measure(ctx, t.Signal.condition() == v1.NodeDiskPressure)
	e := Choose(starved, seen, w.o.Pods(), used, w.layout, w.o.MaxGrace)
	if e == nil {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "no pod can be evicted", slog.String("signal", string(t.Signal)))
	}
	return e
}

// free takes the steps that may help against a signal and reports whether they
// did.
func (w *Watch) free(ctx context.Context, s Signal) bool {
	steps := w.layout.steps(s)
	for _, step := range steps {
		if err := w.o.Free(ctx, step); err != nil {
			w.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot free what nobody needs", slog.String("step", string(step)), slog.Any("err", err))
		}
	}
	return len(steps) > 0 && relieved(w.all, w.see(ctx))
}

func (w *Watch) measure(ctx context.Context, files bool) Usages {
	used, err := w.o.Usage(ctx, files)
	if err != nil {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot measure pods", slog.Any("err", err))
	}
	return used
}

// The time that is spent on measuring for limits of storage is bounded: the pause
// is this many times as long, but never so long that a limit is no limit.
const (
	costShare    = 50
	longestPause = time.Minute
)

// limits evicts the pods that break limits of storage of their own. Measuring
// means to walk through files: it is done only while there are such pods, and the
// longer it takes the less often.
func (w *Watch) limits(ctx context.Context, now time.Time) []*v1.Pod {
	if w.o.NoLimits || now.Before(w.next) {
		return nil
	}
	limited := slices.DeleteFunc(w.o.Pods(), func(p *v1.Pod) bool { return !Limited(p) })
	if len(limited) == 0 {
		return nil
	}
	used := w.measure(ctx, true)
	took := time.Since(now)
	// A little less than the interval, so that the next look is not just too early.
	w.next = now.Add(min(max(Interval-Interval/10, costShare*took), longestPause))
	var evicted []*v1.Pod
	for _, p := range limited {
		u, known := used[p.UID]
		if e := Exceeds(p, u, w.layout); known && e != nil {
			w.o.Evict(*e)
			evicted = append(evicted, p)
		}
	}
	return evicted
}

// await waits until nothing of the pods runs, for a while.
func (w *Watch) await(ctx context.Context, pods []*v1.Pod) {
	overdue := time.NewTimer(goneTimeout)
	defer overdue.Stop()
	look := time.NewTicker(time.Second) // beneath the pokes
	defer look.Stop()
	for {
		if !slices.ContainsFunc(pods, func(p *v1.Pod) bool { return !w.o.Gone(p) }) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-overdue.C:
			w.o.Log.LogAttrs(ctx, slog.LevelWarn, "evicted pods have not ended yet", slog.Int("pods", len(pods)))
			return
		case <-look.C:
		case <-w.poke:
		}
	}
}
