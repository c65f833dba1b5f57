// Package worker runs one goroutine for each pod: look, plan, act, say.
//
// It decides when to look and when an action in flight is overtaken; what to do
// is decided by package plan, how it is done by package runtime, and what it
// means to the API by package status. It remembers only what cannot be seen:
// since when the pod is being torn down and which actions failed.
package worker

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

// Runtime is the part of the container runtime that a worker uses.
type Runtime interface {
	Observe(ctx context.Context, key pod.Key) (pod.Observed, error)
	// Do executes one action. The pod is nil where it is no longer known.
	Do(ctx context.Context, p *v1.Pod, a pod.Action) error
}

// Prober keeps the probes of a pod's running containers going.
type Prober interface {
	Sync(p *v1.Pod, have pod.Observed, stopping bool)
	Verdicts(key pod.Key) map[string]pod.Verdict
	Forget(key pod.Key)
}

// Options are what a Worker is made from. All fields are required that do not say
// otherwise.
type Options struct {
	Runtime Runtime
	Prober  Prober
	// Plan is plan.For, or a Planner's.
	Plan func(want *pod.Want, have pod.Observed, now time.Time) plan.Next
	// Say is told of every look, on the worker's goroutine: it must not block.
	Say func(key pod.Key, want *pod.Want, have pod.Observed)
	// Release gives back what a pod holds that is over, though it is still wanted:
	// volumes and cgroups, but not what tells of its end. It is called until it
	// succeeds, once for each UID.
	Release func(ctx context.Context, p *v1.Pod) error
	// Clean removes what a pod left on disk and in cgroups. It is called once
	// nothing of that UID is in the runtime and the UID is not wanted. kept is
	// set when the same UID is to run again at once: its logs must stay (SP-42).
	Clean func(ctx context.Context, key pod.Key, uid types.UID) error
	// Sync is told of each go at the pod: it returns the context for it, and what is
	// called with how it went. It must not block. Nil: nobody is told.
	Sync   func(ctx context.Context, s pod.Sync) (context.Context, func(error))
	Logger *slog.Logger
}

// A Worker owns one key from its first pod to its last container. Only its own
// goroutine touches anything but the mailbox.
//
//	            poke, timer                    batch done
//	idle ──► look ──► plan ──► nothing ──► idle   ▲
//	                   └─────► actions ──► acting ┘──► look …
//	acting: looks and says, never plans; a want that overtakes cancels the batch
type Worker struct {
	key pod.Key
	o   Options

	mu    sync.Mutex    // guards want and again
	want  *pod.Want     // the latest
	again bool          // failures are to be due at once
	poke  chan struct{} // capacity 1: many pokes before a look are one

	// The fields below are only touched by the goroutine of Run.
	last     *pod.Want // as taken from the mailbox last
	known    *v1.Pod   // the last that was wanted: what ends is told of in its name
	stopping time.Time
	failures map[string]pod.Failure
	seen     map[types.UID]bool // UIDs that may have left something to clean
	released types.UID          // of the pod that Release was called for last
	batch    *batch             // in flight, nil when idle
	acted    *pod.Want          // for which the last batch was
	failed   int                // batches or looks that failed in a row
	hold     time.Time          // not to plan before
	timer    *time.Timer
}

// New returns a worker that does nothing before Run.
func New(key pod.Key, o Options) *Worker {
	if o.Sync == nil {
		o.Sync = func(ctx context.Context, _ pod.Sync) (context.Context, func(error)) { return ctx, func(error) {} }
	}
	return &Worker{
		key: key, o: o, poke: make(chan struct{}, 1),
		failures: map[string]pod.Failure{}, seen: map[types.UID]bool{},
	}
}

// Want sets what is desired; nil asks for the pod to be gone. The latest wins.
func (w *Worker) Want(want *pod.Want) {
	w.mu.Lock()
	w.want = want
	w.mu.Unlock()
	w.Poke()
}

// Poke asks the worker to look again. It never blocks and carries no data, so
// a lost, repeated or late event can never make the worker act on old news.
func (w *Worker) Poke() {
	select {
	case w.poke <- struct{}{}:
	default:
	}
}

// Retry makes failed actions due at once: what they failed for may be over.
func (w *Worker) Retry() {
	w.mu.Lock()
	w.again = true
	w.mu.Unlock()
	w.Poke()
}

// Run returns when nothing is left of the pod and none is wanted, or when ctx
// ends. It returns with no action in flight.
func (w *Worker) Run(ctx context.Context) {
	w.timer = time.NewTimer(0)
	defer w.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			w.abandon()
			return
		case <-w.poke:
		case <-w.timer.C:
		case err := <-w.done():
			w.finish(ctx, err)
		}
		if w.once(ctx) {
			return
		}
	}
}

// once looks, says, and plans unless a batch is in flight. It reports whether
// the worker's life is over.
func (w *Worker) once(ctx context.Context) (over bool) {
	select {
	case <-w.poke: // what it was for will be seen now
	default:
	}
	want := w.take()
	if wait := w.early(want); wait > 0 {
		w.timer.Reset(wait)
		return false
	}
	have, err := w.look(ctx, want)
	if err != nil {
		w.backOff(ctx, err)
		return false
	}
	w.o.Prober.Sync(podOf(want), have, !w.stopping.IsZero())
	w.o.Say(w.key, want, have)
	if w.batch != nil {
		if w.batch.overtakenBy(want) {
			w.batch.cancel()
		}
		return false
	}
	if wait := time.Until(w.hold); wait > 0 {
		w.timer.Reset(wait)
		return false
	}
	return w.plan(ctx, want, have)
}

// plan decides and starts to act. It reports whether the worker's life is over.
func (w *Worker) plan(ctx context.Context, want *pod.Want, have pod.Observed) (over bool) {
	now := time.Now()
	w.noteStopping(want, have, now)
	have.Stopping = w.stopping
	next := w.o.Plan(want, have, now)
	if len(next.Actions) > 0 {
		w.start(ctx, want, have, next.Actions)
		return false
	}
	if err := w.tidy(ctx, want, have, next.Done); err != nil {
		w.backOff(ctx, err)
		return false
	}
	if next.Gone {
		w.stopping, w.released = time.Time{}, ""
		clear(w.failures)
		if want != nil { // wanted again while it was going (SP-41)
			w.Poke()
			return false
		}
		w.o.Prober.Forget(w.key)
		return true
	}
	if next.Wake > 0 {
		w.timer.Reset(next.Wake)
	}
	return false
}

// take reads the mailbox. News makes what failed due again: another image, a
// network that is up.
func (w *Worker) take() *pod.Want {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.again || w.want != w.last {
		w.again, w.last, w.failed, w.hold = false, w.want, 0, time.Time{}
		for name, f := range w.failures {
			f.Retry = time.Time{}
			w.failures[name] = f
		}
	}
	return w.want
}

// look observes the pod and completes what the runtime says with what the
// worker and the prober remember.
func (w *Worker) look(ctx context.Context, want *pod.Want) (pod.Observed, error) {
	have, err := w.o.Runtime.Observe(ctx, w.key)
	if err != nil {
		return have, err
	}
	if want != nil {
		w.known = want.Pod
		w.seen[want.Pod.UID] = true
	}
	for _, s := range have.Sandboxes {
		w.seen[s.UID] = true
	}
	for _, c := range have.Containers {
		w.seen[c.PodUID] = true
	}
	have.Stopping = w.stopping
	have.Failures = maps.Clone(w.failures)
	have.Probes = w.o.Prober.Verdicts(w.key)
	return have, nil
}

// noteStopping keeps since when the pod that runs is being torn down. That
// begins with the first plan to do so, not with the news: the plan runs preStop
// hooks only when it is told that this is the very beginning.
func (w *Worker) noteStopping(want *pod.Want, have pod.Observed, now time.Time) {
	switch {
	case plan.Ending(want, have):
		if w.stopping.IsZero() {
			w.stopping = now
		}
	case len(have.Sandboxes) == 0 && len(have.Containers) == 0:
		w.stopping = time.Time{}
	}
}

// tidy gives back what pods hold that are over or gone.
func (w *Worker) tidy(ctx context.Context, want *pod.Want, have pod.Observed, done bool) error {
	if done && w.released != want.Pod.UID {
		if err := w.giveBack(ctx, want.Pod.UID, func(ctx context.Context) error { return w.o.Release(ctx, want.Pod) }); err != nil {
			return err
		}
		w.released = want.Pod.UID
	}
	return w.clean(ctx, want, have)
}

// clean removes what pods left behind that are neither wanted nor observed.
func (w *Worker) clean(ctx context.Context, want *pod.Want, have pod.Observed) error {
	for uid := range w.seen {
		if want != nil && want.Pod.UID == uid || observed(uid, have) {
			continue
		}
		if err := w.giveBack(ctx, uid, func(ctx context.Context) error { return w.o.Clean(ctx, w.key, uid) }); err != nil {
			return err
		}
		delete(w.seen, uid)
	}
	return nil
}

// giveBack does what gives back what a pod held.
func (w *Worker) giveBack(ctx context.Context, uid types.UID, do func(context.Context) error) error {
	ctx, end := w.o.Sync(ctx, pod.Sync{Key: w.key, UID: uid, Kind: pod.SyncTerminated})
	err := do(ctx)
	end(err)
	return err
}

func observed(uid types.UID, have pod.Observed) bool {
	if _, ok := have.Sandbox(uid); ok {
		return true
	}
	for _, c := range have.Containers {
		if c.PodUID == uid {
			return true
		}
	}
	return false
}

func podOf(want *pod.Want) *v1.Pod {
	if want == nil {
		return nil
	}
	return want.Pod
}
