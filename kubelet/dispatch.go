package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/resize"
	"boot.internal/kubelet/status"
	"boot.internal/kubelet/worker"
)

// A dispatcher turns what is desired and what runs into workers, one a key.
// Its goroutine alone touches its fields; everyone else sends.
type dispatcher struct {
	newWorker func(pod.Key) *worker.Worker
	// desiredChanged is told all desired pods, by whether they may run, and those
	// still going, whenever any changes. It must not block.
	desiredChanged func(admitted, rejected, going []*v1.Pod)
	admission      admission
	// restarted is told of a pod that is wanted again while it ends.
	restarted func(p *v1.Pod)
	// started returns when a pod was first seen here, zero if it was not yet.
	started func(types.UID) time.Time
	// expired is told of a pod that reached its deadline.
	expired func(p *v1.Pod)
	// ledger keeps what pods are allocated; nil: what they ask for.
	ledger *resize.Ledger
	// resizeNews is told how the resize of a pod goes.
	resizeNews func(resize.News)
	// preempted is told of a pod that has to go for a critical one.
	preempted func(p *v1.Pod)
	logger    *slog.Logger

	desired chan desired // the latest wish of all sources
	listed  chan []found // what the runtime has under every key
	pokes   chan pod.Key
	retries chan struct{}
	missed  chan pod.Key  // what a pod missed has come
	again   chan struct{} // capacity 1: another pod may be admitted now
	ends    chan end      // asked for by the node itself
	pulse   chan struct{} // taken by a dispatcher that goes round

	workers  map[pod.Key]*worker.Worker
	pods     []*v1.Pod // desired, in the order of their sources
	wants    map[pod.Key]*pod.Want
	rejected map[pod.Key]rejection   // desired, but not admitted
	before   map[pod.Key][]types.UID // found at the start, not dealt with yet
	stops    map[types.UID]pod.Stop  // what the node itself ends
	deadline *time.Timer             // of the desired pod that is next to reach its own
	going    map[pod.Key]*v1.Pod     // no longer wanted, not gone yet; nil where never known
	running  map[pod.Key]string      // as listed last: where what runs under a key is from
	synced   map[string]bool         // origins that have said what they want
	ended    chan pod.Key
	life     sync.WaitGroup
}

// Desired is what all sources want now.
type desired struct {
	pods   []*v1.Pod
	synced map[string]bool // origins that have had their say (SP-45)
	heard  func()          // called before any of it takes effect; may be nil
}

// Found is a key that the runtime has something of.
type found struct {
	key     pod.Key
	origin  string // where its newest sandbox is from, "" if that is not known
	changed bool   // since its worker looked last
}

func newDispatcher(logger *slog.Logger) *dispatcher {
	return &dispatcher{
		logger: logger, restarted: func(*v1.Pod) {}, expired: func(*v1.Pod) {}, preempted: func(*v1.Pod) {}, resizeNews: func(resize.News) {},
		desired: make(chan desired), listed: make(chan []found),
		pokes: make(chan pod.Key), retries: make(chan struct{}), missed: make(chan pod.Key), again: make(chan struct{}, 1), ended: make(chan pod.Key),
		ends: make(chan end), pulse: make(chan struct{}), stops: map[types.UID]pod.Stop{}, started: func(types.UID) time.Time { return time.Time{} },
		workers: map[pod.Key]*worker.Worker{}, wants: map[pod.Key]*pod.Want{}, rejected: map[pod.Key]rejection{},
		going: map[pod.Key]*v1.Pod{}, running: map[pod.Key]string{},
	}
}

// run works until ctx ends and all workers have returned.
func (d *dispatcher) run(ctx context.Context) {
	defer d.life.Wait()
	d.before = d.admission.before(ctx)
	d.deadline = time.NewTimer(time.Hour)
	defer d.deadline.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case all := <-d.desired:
			if all.heard != nil {
				all.heard()
			}
			d.synced, d.pods = all.synced, all.pods
			d.settle(ctx)
			d.adopt(ctx)
		case all := <-d.listed:
			d.see(all)
			d.adopt(ctx)
		case key := <-d.pokes:
			if w, ok := d.workers[key]; ok {
				w.Poke()
			}
			d.repeat(key)
		case key := <-d.missed:
			if w, ok := d.workers[key]; ok {
				w.Retry()
			}
		case <-d.again:
			d.settleAgain(ctx)
		case <-d.deadline.C:
			d.settleAgain(ctx)
		case e := <-d.ends:
			d.noteEnd(e)
			d.settleAgain(ctx)
		case <-d.retries:
			for _, w := range d.workers {
				w.Retry()
			}
		case key := <-d.ended:
			d.end(ctx, key)
		case <-d.pulse:
		}
	}
}

// alive returns nil once the dispatcher has come round, or that it has not until ctx
// ended.
func (d *dispatcher) alive(ctx context.Context) error {
	select {
	case d.pulse <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the dispatcher of pods does not come round: %w", ctx.Err())
	}
}

// settleAgain settles what is desired once more, if anything is known of that.
func (d *dispatcher) settleAgain(ctx context.Context) {
	if d.synced != nil {
		d.settle(ctx)
	}
}

// settle makes the workers' wants match the desired pods that are admitted.
func (d *dispatcher) settle(ctx context.Context) {
	d.release(ctx)
	d.watchDeadlines(time.Now())
	d.admit(ctx)
	d.tell()
}

// release lets go of what is not desired any more.
func (d *dispatcher) release(ctx context.Context) {
	desired := make(map[pod.Key]bool, len(d.pods))
	for _, p := range d.pods {
		desired[pod.KeyOf(p)] = true
	}
	for key := range d.wants {
		if !desired[key] {
			d.letGo(ctx, key)
		}
	}
	for key := range d.rejected {
		if !desired[key] {
			d.unreject(key, "")
		}
	}
}

// keep has the pod run by the worker of its key.
func (d *dispatcher) keep(ctx context.Context, p *v1.Pod) {
	key, stop := pod.KeyOf(p), d.stopOf(p)
	if old, ok := d.wants[key]; ok && same(old.Pod, p) && sameStop(old.Stop, stop) {
		return
	}
	if was := d.going[key]; was != nil && was.UID == p.UID {
		d.restarted(p) // SP-41
	}
	d.wants[key] = &pod.Want{Pod: p, Stop: stop}
	delete(d.going, key)
	d.tellWorker(ctx, key, d.wants[key])
}

// letGo has what is wanted of a key end.
func (d *dispatcher) letGo(ctx context.Context, key pod.Key) {
	d.going[key] = d.wants[key].Pod
	delete(d.wants, key)
	d.tellWorker(ctx, key, nil)
}

// same reports whether two versions of a desired pod are one to a worker. Of the
// status only what others say counts: the rest the worker said itself.
func same(a, b *v1.Pod) bool {
	return a == b || a.UID == b.UID && a.Generation == b.Generation && equality.Semantic.DeepEqual(a.Spec, b.Spec) &&
		equality.Semantic.DeepEqual(a.Labels, b.Labels) && equality.Semantic.DeepEqual(a.Annotations, b.Annotations) &&
		(pod.IsStatic(a) || a.Status.Phase == b.Status.Phase &&
			equality.Semantic.DeepEqual(status.Foreign(a.Status), status.Foreign(b.Status)) && sameClaims(a.Status, b.Status))
}

// see notes what runs, and pokes the workers whose pods changed.
func (d *dispatcher) see(all []found) {
	clear(d.running)
	for _, f := range all {
		d.running[f.key] = f.origin
		if w, ok := d.workers[f.key]; ok && f.changed {
			w.Poke()
		}
	}
}

// adopt gives a worker to every key of which the runtime has something that its
// source does not want, so that it ends (SP-46). What is of a source that has
// not had its say yet is left alone.
func (d *dispatcher) adopt(ctx context.Context) {
	for key, origin := range d.running {
		if _, ok := d.workers[key]; ok || !d.synced[origin] {
			continue
		}
		d.logger.LogAttrs(ctx, slog.LevelInfo, "end a pod that nothing wants", slog.String("pod", key.String()))
		d.going[key] = nil
		d.tellWorker(ctx, key, nil)
		delete(d.running, key)
	}
}

// tellWorker tells the key's worker what is wanted, and starts one if need be.
func (d *dispatcher) tellWorker(ctx context.Context, key pod.Key, want *pod.Want) {
	w, ok := d.workers[key]
	if !ok {
		w = d.newWorker(key)
		d.workers[key] = w
	}
	w.Want(want) // before it runs: without a want it would end at once
	if ok {
		return
	}
	d.life.Go(func() {
		w.Run(ctx)
		select {
		case d.ended <- key:
		case <-ctx.Done():
		}
	})
}

// end forgets a worker that returned. A pod that was wanted again in the moment
// of its end gets a new one.
func (d *dispatcher) end(ctx context.Context, key pod.Key) {
	delete(d.workers, key)
	delete(d.going, key)
	delete(d.before, key)
	delete(d.running, key) // what was listed is gone
	if want, ok := d.wants[key]; ok {
		d.tellWorker(ctx, key, want)
	}
	d.repeat(key)
	d.settle(ctx) // it may have been in the way of another
}

// tell passes on who is desired and who is still going. What goes to make room
// for a rejected pod of its key is not told: only one of them can be.
func (d *dispatcher) tell() {
	admitted := make([]*v1.Pod, 0, len(d.wants))
	for _, want := range d.wants {
		admitted = append(admitted, want.Pod)
	}
	var rejected, going []*v1.Pod
	for _, r := range d.rejected {
		rejected = append(rejected, r.pod)
	}
	for key, p := range d.going {
		if _, ok := d.rejected[key]; p != nil && !ok {
			going = append(going, p)
		}
	}
	d.desiredChanged(admitted, rejected, going)
}

// retry makes all failed actions due.
func (d *dispatcher) retry(ctx context.Context) {
	select {
	case d.retries <- struct{}{}:
	case <-ctx.Done():
	}
}

// retryOf makes the failed actions of one pod due, as when something that it
// missed has come.
func (d *dispatcher) retryOf(ctx context.Context, key pod.Key) {
	select {
	case d.missed <- key:
	case <-ctx.Done():
	}
}

// poke passes a poke on, unless ctx ends first.
func (d *dispatcher) poke(ctx context.Context, key pod.Key) {
	select {
	case d.pokes <- key:
	case <-ctx.Done():
	}
}
