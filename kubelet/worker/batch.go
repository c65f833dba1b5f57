package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// A batch is the actions of one plan, executed in order on a goroutine of its
// own so that the worker goes on looking and can overtake it.
type batch struct {
	want     *pod.Want
	tearDown bool // it ends the pod, or one of an older UID
	cancel   context.CancelFunc
	done     chan error // a *failedAction, or nil
	look     time.Time  // when to look for what the worker was poked for; zero: it was not
}

// lookWithin is how soon a worker looks that is poked while a batch is in flight.
// Most of what it is poked for then is what the batch itself brings about, and with
// the end of the batch comes a look of its own, which would have to wait for one that
// has just begun.
const lookWithin = time.Second

// early returns how long a look can wait because of the batch in flight, if any.
func (w *Worker) early(want *pod.Want) time.Duration {
	if w.batch == nil || want != w.batch.want {
		return 0
	}
	if w.batch.look.IsZero() {
		w.batch.look = time.Now().Add(lookWithin)
	}
	wait := time.Until(w.batch.look)
	if wait <= 0 {
		w.batch.look = time.Time{}
	}
	return wait
}

// A failedAction is the action that ended a batch.
type failedAction struct {
	action pod.Action
	err    error
}

func (f *failedAction) Error() string { return f.action.String() + ": " + f.err.Error() }
func (f *failedAction) Unwrap() error { return f.err }

// start executes the actions in the background.
func (w *Worker) start(ctx context.Context, want *pod.Want, have pod.Observed, actions []pod.Action) {
	ctx, cancel := context.WithCancel(ctx)
	w.batch = &batch{want: want, tearDown: !have.Stopping.IsZero(), cancel: cancel, done: make(chan error, 1)}
	p := w.known
	ctx, end := w.o.Sync(ctx, w.syncOf(want, have))
	go func(done chan<- error) {
		err := w.act(ctx, p, actions)
		end(err)
		done <- err
	}(w.batch.done)
}

// syncOf says what a batch is for. What ends may be of an older UID.
func (w *Worker) syncOf(want *pod.Want, have pod.Observed) pod.Sync {
	s := pod.Sync{Key: w.key, Kind: pod.SyncKeep}
	last := w.acted
	w.acted = want
	if want == nil || !have.Stopping.IsZero() {
		s.Kind, s.UID = pod.SyncTerminating, uidOf(have)
		return s
	}
	s.UID = want.Pod.UID
	switch {
	case !observed(s.UID, have):
		s.Kind = pod.SyncCreate
	case last != nil && last != want:
		s.Kind = pod.SyncUpdate
	}
	return s
}

// uidOf returns the UID of what is there of a pod.
func uidOf(have pod.Observed) types.UID {
	for _, s := range have.Sandboxes {
		return s.UID
	}
	for _, c := range have.Containers {
		return c.PodUID
	}
	return ""
}

// act executes the actions in order, neighbouring kills at the same time: they
// share one grace period and wait for each other where order counts (IC-32, IC-33).
func (w *Worker) act(ctx context.Context, p *v1.Pod, actions []pod.Action) error {
	for len(actions) > 0 {
		n := max(1, kills(actions))
		var g errgroup.Group
		for _, a := range actions[:n] {
			g.Go(func() error { return w.do(ctx, p, a) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		actions = actions[n:]
	}
	return nil
}

func (w *Worker) do(ctx context.Context, p *v1.Pod, a pod.Action) error {
	w.o.Logger.LogAttrs(ctx, slog.LevelInfo, "act", slog.String("pod", w.key.String()), slog.String("action", a.String()))
	if err := ctx.Err(); err != nil {
		return &failedAction{a, err}
	}
	if err := w.o.Runtime.Do(ctx, p, a); err != nil {
		return &failedAction{a, err}
	}
	return nil
}

// kills returns how many kills the actions begin with.
func kills(actions []pod.Action) int {
	for i, a := range actions {
		if _, ok := a.(pod.KillContainer); !ok {
			return i
		}
	}
	return len(actions)
}

// done is ready when the batch in flight has ended; nil, so never, without one.
func (w *Worker) done() <-chan error {
	if w.batch == nil {
		return nil
	}
	return w.batch.done
}

// abandon cancels the batch in flight and waits for it.
func (w *Worker) abandon() {
	if w.batch != nil {
		w.batch.cancel()
		<-w.batch.done
	}
}

// finish learns from the end of a batch.
func (w *Worker) finish(ctx context.Context, err error) {
	overtaken := w.batch.overtakenBy(w.take())
	w.batch.cancel()
	w.batch = nil
	w.timer.Stop() // what it was set for is seen now
	var f *failedAction
	switch {
	case err == nil:
		w.failed = 0
		w.forgetFailures()
	case overtaken && errors.Is(err, context.Canceled):
	case errors.As(err, &f):
		w.remember(f)
		w.backOff(ctx, err)
	}
}

// forgetFailures drops those whose retry was due: the batch that just went well
// held every action that was.
func (w *Worker) forgetFailures() {
	now := time.Now()
	for name, f := range w.failures {
		if !f.Retry.After(now) {
			delete(w.failures, name)
		}
	}
}

// remember notes a failed action for the plan, which does not repeat it before
// its time, and for the status, which shows it as the reason for waiting.
func (w *Worker) remember(f *failedAction) {
	now := time.Now()
	count := w.failures[f.action.Target()].Count + 1
	failure := pod.Failure{Reason: "Error", Message: f.err.Error(), At: now, Count: count, Retry: now.Add(delay(count))}
	var e *pod.ActionError
	if errors.As(f.err, &e) {
		failure.Reason = e.Reason
		if e.Retry > 0 {
			failure.Retry = now.Add(e.Retry)
		}
	}
	w.failures[f.action.Target()] = failure
}

// backOff keeps a pod whose looks or actions fail from being planned in a tight
// circle. Failed starts wait for longer by their Failure; this holds all else.
func (w *Worker) backOff(ctx context.Context, err error) {
	w.failed++
	wait := min(100*time.Millisecond<<min(w.failed-1, 10), 10*time.Second)
	w.hold = time.Now().Add(wait)
	w.timer.Reset(wait)
	w.o.Logger.LogAttrs(ctx, slog.LevelWarn, "retry", slog.String("pod", w.key.String()),
		slog.Duration("after", wait), slog.Any("err", err))
}

// delay is how long the n-th failure in a row keeps an action from being tried
// again: 1 s, doubling up to a minute.
func delay(n int) time.Duration { return min(time.Second<<min(n-1, 10), time.Minute) }

// overtakenBy reports whether the batch works against what is wanted now.
func (b *batch) overtakenBy(want *pod.Want) bool {
	if want == b.want {
		return false
	}
	if b.tearDown {
		return shorter(want, b.want)
	}
	return want == nil || want.Stop != nil || want.Pod.UID != b.want.Pod.UID || changed(b.want.Pod, want.Pod)
}

// shorter reports whether now asks for a faster end than before did.
func shorter(now, before *pod.Want) bool {
	if now == nil || now.Stop == nil {
		return false
	}
	if before == nil || before.Stop == nil {
		return true
	}
	return now.Stop.Since.Add(now.Stop.Grace).Before(before.Stop.Since.Add(before.Stop.Grace))
}

// changed reports whether a container of the pod is to be made differently, so
// that a pull for the old one is in vain.
func changed(before, now *v1.Pod) bool {
	for _, c := range pod.Containers(now) {
		old, ok := pod.Find(before, c.Name)
		if !ok || pod.ContainerHash(before, old.Container) != pod.ContainerHash(now, c.Container) {
			return true
		}
	}
	return false
}
