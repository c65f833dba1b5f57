// Package shutdown ends pods in time when the machine goes down: it has logind
// wait, ends the least important pods first, and lets the machine go on once all
// have ended or their time is up (KEP-2000, KEP-2712).
//
//	lock taken ── PrepareForShutdown(true) ──► pods end, group by group ──► lock given back
//	    ▲                                                                        │
//	    └───────────────────── PrepareForShutdown(false) ◄───────────────────────┘
//
// It decides who ends when. Ending a pod, and telling the API and the admission of
// it, are left to others. Where there is no logind nobody can tell of a shutdown,
// and nothing is done.
package shutdown

import (
	"context"
	"errors"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Words of what becomes of pods, as upstream has them.
const (
	Reason  = "Terminated"
	Message = "Pod was terminated in response to imminent node shutdown."
)

// A Logind tells of the end of the machine, and waits for those who ask it to.
type Logind interface {
	// Delay makes sure that a shutdown waits for so long at least.
	Delay(ctx context.Context, d time.Duration) error
	// Inhibit has a shutdown wait, as long as Delay allows, until release is called.
	Inhibit(ctx context.Context) (release func() error, err error)
	// Events returns whether a shutdown begins, or was called off, each time either
	// happens. The channel is closed when logind cannot be heard any more.
	Events(ctx context.Context) (<-chan bool, error)
	Close() error
}

// Options are what a Guard is made of. All are required.
type Options struct {
	Groups []Group
	// Connect reaches logind. The error is ErrNone where there is none.
	Connect func(ctx context.Context) (Logind, error)

	// Pods returns those that run.
	Pods func() []*v1.Pod
	// Stop begins the end of a pod. It must not block.
	Stop func(p *v1.Pod, grace time.Duration)
	// Gone reports whether nothing of a pod runs any more. Poke tells that it may
	// be another now.
	Gone func(p *v1.Pod) bool
	// Down is told when a shutdown begins, and when it was called off.
	Down func(down bool)
	// Began and Ended are told when pods begin to end, and when that is over.
	Began, Ended func(at time.Time)
	Log          *slog.Logger
}

// ErrNone says that the machine has no logind.
var ErrNone = errors.New("there is no logind")

// A Guard ends pods in time. Its fields are of the goroutine of Run.
type Guard struct {
	o       Options
	poke    chan struct{} // capacity 1
	release func() error  // of the lock that is held; nil if none is
}

// New returns a Guard that does nothing before Run.
func New(o Options) *Guard { return &Guard{o: o, poke: make(chan struct{}, 1)} }

// Poke says that a pod may have ended. It never blocks.
func (g *Guard) Poke() {
	select {
	case g.poke <- struct{}{}:
	default:
	}
}

// reconnect is how long is waited when logind was lost.
const reconnect = time.Second

// Run guards until ctx ends, or returns at once where there is no logind.
func (g *Guard) Run(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		err := g.watch(ctx)
		switch {
		case errors.Is(err, ErrNone):
			g.o.Log.LogAttrs(ctx, slog.LevelDebug, "nobody tells of shutdowns", slog.Any("err", err))
			return
		case err != nil && ctx.Err() == nil && err.Error() != said:
			said = err.Error()
			g.o.Log.LogAttrs(ctx, slog.LevelWarn, "cannot watch for shutdowns", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

// watch follows logind until that is lost, and holds the lock. It listens before it
// asks a shutdown to wait: one that begins then would wait for nobody.
func (g *Guard) watch(ctx context.Context) (err error) {
	logind, err := g.o.Connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.letGo(), logind.Close()) }()
	if err := logind.Delay(ctx, total(g.o.Groups)); err != nil {
		return err
	}
	events, err := logind.Events(ctx)
	if err != nil {
		return err
	}
	if err := g.hold(ctx, logind); err != nil {
		return err
	}
	g.o.Log.LogAttrs(ctx, slog.LevelInfo, "shutdowns wait for pods", slog.Duration("grace", total(g.o.Groups)))
	for {
		select {
		case <-ctx.Done():
			return nil
		case down, ok := <-events:
			if !ok {
				return errors.New("logind is gone")
			}
			if err := g.heard(ctx, logind, down); err != nil {
				return err
			}
		}
	}
}

// heard deals with the beginning of a shutdown, or with one that was called off.
func (g *Guard) heard(ctx context.Context, logind Logind, down bool) error {
	g.o.Log.LogAttrs(ctx, slog.LevelInfo, "machine shuts down", slog.Bool("down", down))
	g.o.Down(down)
	if !down {
		return g.hold(ctx, logind)
	}
	g.o.Began(time.Now())
	g.end(ctx)
	g.o.Ended(time.Now())
	return g.letGo()
}

// hold takes the lock, unless it is held.
func (g *Guard) hold(ctx context.Context, logind Logind) (err error) {
	if g.release == nil {
		g.release, err = logind.Inhibit(ctx)
	}
	return err
}

// letGo gives the lock back, if it is held.
func (g *Guard) letGo() error {
	if g.release == nil {
		return nil
	}
	release := g.release
	g.release = nil
	return release()
}

// end ends the pods, group by group.
func (g *Guard) end(ctx context.Context) {
	for i, pods := range split(g.o.Groups, g.o.Pods()) {
		if len(pods) == 0 || ctx.Err() != nil {
			continue
		}
		group := g.o.Groups[i]
		for _, p := range pods {
			g.o.Stop(p, graceOf(p, group))
		}
		g.await(ctx, pods, group)
	}
}

// await waits until nothing of the pods runs, or the group's time is up.
func (g *Guard) await(ctx context.Context, pods []*v1.Pod, group Group) {
	overdue := time.NewTimer(group.Grace)
	defer overdue.Stop()
	for {
		left := 0
		for _, p := range pods {
			if !g.o.Gone(p) {
				left++
			}
		}
		if left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-overdue.C:
			g.o.Log.LogAttrs(ctx, slog.LevelWarn, "pods have not ended in time", slog.Int("pods", left), slog.Int("priority", int(group.Priority)))
			return
		case <-g.poke:
		}
	}
}
