package status

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// API is the part of the API server that a Writer uses.
type API interface {
	// PatchStatus sends a strategic merge patch to the status of a pod.
	PatchStatus(ctx context.Context, key pod.Key, patch []byte) (*v1.Pod, error)
	// Delete removes a pod that has ended from the API for good. It is no error
	// if that is gone already.
	Delete(ctx context.Context, key pod.Key, uid types.UID) error
}

// Mirrors knows the API's pictures of static pods.
type Mirrors interface {
	// UIDFor returns the UID under which the API knows a static pod; there is
	// none as long as it has no mirror.
	UIDFor(p *v1.Pod) (types.UID, bool)
	// Pod returns the mirror of a key as last heard of.
	Pod(key pod.Key) (*v1.Pod, bool)
}

// WriterOptions are what a Writer is made from.
type WriterOptions struct {
	Mirrors Mirrors
	// Adopt is told what the API holds of a pod from an earlier process, once, and
	// before anything is written about it. What was set until then is dropped: it
	// was made without that knowledge, and would make the pod flap (IC-26). So
	// Adopt seeds the prober (see Seeds) and pokes the pod's worker, whose next
	// status is made from the adopted one, which Get returns. It must not block.
	// May be nil: then what was set is written.
	Adopt func(p *v1.Pod, held v1.PodStatus)
	// Rush returns what is closed once no pod waits for others to start any more; nil
	// if none does now. May be nil: then none ever does.
	Rush   func() <-chan struct{}
	Logger *slog.Logger
}

// A Writer gets the latest status of every pod to the API, and that alone: what
// was overtaken before it could be sent is never sent. Its methods may be called
// from any goroutine and never wait for the API.
//
//	       Set, Poke, foreign change         a request at most for each pod,
//	entry ─────────────────────────► due ──► atOnce in all ──► held by the API
//	                                  ▲                │ failed: later
//	                                  └────────────────┘
type Writer struct {
	o    WriterOptions
	wake chan struct{} // capacity 1: many wakes before a look are one

	mu      sync.Mutex // guards all below
	entries map[types.UID]*entry
	busy    int  // requests under way
	failing bool // the last request failed
}

// An entry is what is known of the status of one pod.
type entry struct {
	pod    *v1.Pod
	status *v1.PodStatus // the latest; nil if it has to be made anew

	due      bool      // to be looked at: it may have to be written
	busy     bool      // is being looked at
	next     time.Time // not before, after a failure
	failures int       // in a row
	settled  time.Time // not before either, while the pod only starts
	overdue  time.Time // nor before this, while it does so in a rush

	object  types.UID     // whose status held is: the pod's, or its mirror's
	held    v1.PodStatus  // what the API holds, as far as is known
	written *v1.PodStatus // the last that is known to be held
	met     bool          // the API's view of the pod was seen by this process
	adopted bool          // since the last Get: a status made before is of no use

	released bool // nothing of it runs, and nothing is held for it
	deleted  bool // and the API was told so
}

const (
	atOnce         = 4                // requests at a time
	requestTimeout = 10 * time.Second // where the API does not even refuse
	reconcile      = 10 * time.Second // how often foreign changes are looked for (SP-55)
	firstRetry     = 100 * time.Millisecond
	lastRetry      = 5 * time.Second
)

// NewWriter returns a Writer that keeps what it is given and sends nothing
// before Run.
func NewWriter(o WriterOptions) *Writer {
	return &Writer{o: o, wake: make(chan struct{}, 1), entries: map[types.UID]*entry{}}
}

// Set replaces the status of a pod.
func (w *Writer) Set(p *v1.Pod, s v1.PodStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[p.UID]
	if e == nil {
		e = &entry{}
		w.entries[p.UID] = e
	}
	if e.pod == nil || pod.IsStatic(p) { // of the API's pods See knows the latest
		e.pod = p
	}
	if e.adopted || e.status != nil && apiequality.Semantic.DeepEqual(*e.status, s) {
		return
	}
	e.status, e.due = &s, true
	e.rest()
	w.look()
}

// Get returns the status of a pod as it was set last, or else as the API holds
// it from an earlier process. It must not be changed. Who makes a status takes
// this as the one before: of what was adopted, Set knows by the Get that it is
// known.
func (w *Writer) Get(uid types.UID) (v1.PodStatus, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[uid]
	if e == nil {
		return v1.PodStatus{}, false
	}
	if e.status != nil {
		return *e.status, true
	}
	e.adopted = false
	return e.held, e.met
}

// Peek returns the status of a pod for somebody who only wants to show it: what is
// written next does not depend on it, as it does on Get. It must not be changed.
func (w *Writer) Peek(uid types.UID) (v1.PodStatus, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[uid]
	switch {
	case e == nil:
		return v1.PodStatus{}, false
	case e.status != nil:
		return *e.status, true
	}
	return e.held, e.met
}

// Show is Peek for somebody who looks often: as long as the status stays the same,
// so does what is pointed at. It returns nil if no status is known.
func (w *Writer) Show(uid types.UID) *v1.PodStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.entries[uid]
	switch {
	case e == nil:
		return nil
	case e.status != nil:
		return e.status
	case !e.met:
		return nil
	}
	held := e.held
	return &held
}

// Forget drops the status of a pod that is gone.
func (w *Writer) Forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.entries, uid)
}

// Poke says that there may be news of mirrors, or that the API may be back.
func (w *Writer) Poke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		e.due, e.next = true, time.Time{}
	}
	w.look()
}

// look makes Run look for what is due. It never blocks.
func (w *Writer) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends.
func (w *Writer) Run(ctx context.Context, api API) {
	var requests sync.WaitGroup
	defer requests.Wait()
	tick, retry := time.NewTicker(reconcile), time.AfterFunc(0, w.look)
	defer tick.Stop()
	defer retry.Stop()
	var rush <-chan struct{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-rush:
		case <-tick.C:
			w.findForeign()
		}
		rush = w.rush()
		due, wait := w.take(now(), rush != nil)
		for _, e := range due {
			requests.Go(func() { w.give(ctx, e, w.send(ctx, api, e)) })
		}
		if wait > 0 {
			retry.Reset(wait)
		}
	}
}

// rush returns what tells of the end of a rush, nil if there is none.
func (w *Writer) rush() <-chan struct{} {
	if w.o.Rush == nil {
		return nil
	}
	return w.o.Rush()
}

// take returns entries that are due, in a rush or not, and after which time more
// will be.
func (w *Writer) take(now time.Time, inRush bool) (due []*entry, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		left := e.left(now, inRush)
		switch {
		case !e.due || e.busy:
		case left > 0:
			if wait == 0 || left < wait {
				wait = left
			}
		case w.busy < atOnce:
			e.due, e.busy = false, true
			w.busy++
			due = append(due, e)
		}
	}
	return due, wait
}

// give takes an entry back with what became of it.
func (w *Writer) give(ctx context.Context, e *entry, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.busy = false
	w.busy--
	switch {
	case apierrors.IsNotFound(err): // its mirror is gone; there will be news of another
		e.object = ""
	case apierrors.IsConflict(err): // it is another one by now
		e.object = ""
		w.later(e)
	case apierrors.IsInvalid(err): // it would be again: the next one may be better
		w.o.Logger.LogAttrs(ctx, slog.LevelError, "status refused", about(e.pod), slog.Any("err", err))
	case err != nil:
		w.later(e)
		if !w.failing {
			w.o.Logger.LogAttrs(ctx, slog.LevelWarn, "status not written, will be retried", about(e.pod), slog.Any("err", err))
		}
		w.failing = true
	default:
		e.failures, e.next = 0, time.Time{}
	}
	w.look() // there is room for another
}

func (w *Writer) later(e *entry) {
	wait := min(firstRetry<<min(e.failures, 10), lastRetry)
	e.due, e.next = true, now().Add(wait)
	e.failures++
}

func about(p *v1.Pod) slog.Attr { return slog.String("pod", pod.KeyOf(p).String()) }

func now() time.Time { return time.Now() } //nolint:forbidigo // only Of is told the time, a Writer has to wait
