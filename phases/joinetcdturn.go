package phases

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"
)

// The Lease by which control planes take turns in joining etcd, and how it is
// kept. It outlives a member election and an API server that is slow.
const (
	turnName   = "boot-etcd-join"
	turnLife   = 30 * time.Second // without a sign of life, the holder is dead
	turnRenew  = 5 * time.Second
	turnGiveUp = turnLife - 2*turnRenew // of being renewed, long before others take it
	turnWait   = 10 * time.Minute       // for the turn to come
)

var errTurnLost = errors.New("the turn to join etcd was lost: the cluster could not be told in time that this node is still at it")

// A turn is the right of one node to change who is a member of etcd: two that
// join at once would each write down a cluster that the other changes.
type turn struct {
	api    apiServer
	holder string // this node, of which no other process may ask for the turn
}

// hold calls do while this node has the turn. Should that be lost, ctx of do ends.
func (t turn) hold(ctx context.Context, do func(context.Context) error) error {
	lease, err := t.take(ctx)
	if err != nil {
		return err
	}
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lease = t.renew(held, cancel, lease)
	}()
	err = do(held)
	cancel(nil)
	<-done
	t.release(context.WithoutCancel(ctx), lease)
	return err
}

// take waits for the turn: until nobody has it, or its holder has given no sign of
// life for as long as it said it would. That is measured by this node's clock
// alone.
func (t turn) take(ctx context.Context) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, turnWait, fmt.Errorf("not my turn after %s", turnWait))
	defer cancel()
	var seen sighting
	var last error
	for {
		lease, err := t.look(ctx)
		if err == nil && seen.free(lease, t.holder) {
			if lease, err = t.claim(ctx, lease); err == nil {
				return lease, nil
			}
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("take turns in joining etcd: %w", errors.Join(context.Cause(ctx), last))
		}
		pause := pollInterval // somebody else was faster, or the API is away for a moment
		if err == nil {
			last = fmt.Errorf("%s is joining", seen.holder)
			seen.tell(ctx)
			pause = seen.left()
		} else if last = err; hopeless(err) {
			return nil, fmt.Errorf("take turns in joining etcd: %w", err)
		}
		t.await(ctx, lease, pause)
	}
}

// A sighting is what was last seen of a holder, and when it changed.
type sighting struct {
	holder, version, told string
	life                  time.Duration
	changed               time.Time
}

// free takes in a look at the lease, and says whether it may be claimed.
func (s *sighting) free(lease *coordinationv1.Lease, me string) bool {
	if lease == nil {
		return true
	}
	s.holder = ptr.Deref(lease.Spec.HolderIdentity, "")
	if lease.ResourceVersion != s.version {
		s.version, s.changed = lease.ResourceVersion, time.Now()
		s.life = time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	}
	return s.holder == "" || s.holder == me || s.left() <= 0
}

func (s *sighting) left() time.Duration { return s.life - time.Since(s.changed) }

func (s *sighting) tell(ctx context.Context) {
	if s.told != s.holder {
		s.told = s.holder
		waiting(ctx, s.holder+", which is joining etcd")
	}
}

// await waits until the lease changes, at most for the pause.
func (t turn) await(ctx context.Context, lease *coordinationv1.Lease, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if lease != nil && pause > pollInterval {
		leases, err := t.leases()
		if err == nil {
			events, err := leases.Watch(ctx, metav1.ListOptions{
				FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, turnName).String(),
				ResourceVersion: lease.ResourceVersion,
			})
			if err == nil {
				defer events.Stop()
				<-events.ResultChan() // closed when ctx ends
				return
			}
		}
	}
	<-ctx.Done()
}

func (t turn) leases() (dynamic.ResourceInterface, error) {
	return t.api.resource(coordinationv1.SchemeGroupVersion.WithKind("Lease"), metav1.NamespaceSystem)
}

// look reads the lease; nil is none.
func (t turn) look(ctx context.Context) (*coordinationv1.Lease, error) {
	leases, err := t.leases()
	if err != nil {
		return nil, err
	}
	live, err := leases.Get(ctx, turnName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return toLease(live)
}

func toLease(obj *unstructured.Unstructured) (*coordinationv1.Lease, error) {
	var lease coordinationv1.Lease
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &lease); err != nil {
		return nil, fmt.Errorf("decode %s: %w", describe(obj), err)
	}
	return &lease, nil
}

// claim makes this node the holder, unless somebody was faster.
func (t turn) claim(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if lease != nil {
		return t.write(ctx, lease, t.holder)
	}
	leases, err := t.leases()
	if err != nil {
		return nil, err
	}
	live, err := leases.Create(ctx, kubeSystem("coordination.k8s.io/v1", "Lease", turnName, object{"spec": leaseSpec(t.holder)}), metav1.CreateOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, err
	}
	return toLease(live)
}

func leaseSpec(holder string) object {
	now := time.Now().UTC().Format(metav1.RFC3339Micro)
	return object{"holderIdentity": holder, "leaseDurationSeconds": int64(turnLife / time.Second), "renewTime": now}
}

// write names the holder, against the version of the lease that was seen.
func (t turn) write(ctx context.Context, lease *coordinationv1.Lease, holder string) (*coordinationv1.Lease, error) {
	leases, err := t.leases()
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(object{"metadata": object{"resourceVersion": lease.ResourceVersion}, "spec": leaseSpec(holder)})
	if err != nil {
		return nil, err
	}
	live, err := leases.Patch(ctx, turnName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return nil, err
	}
	return toLease(live)
}

// renew gives signs of life until ctx ends, and returns the lease as it is then.
// If the cluster gets none for too long, or somebody else has the turn, lost is
// called.
func (t turn) renew(ctx context.Context, lost context.CancelCauseFunc, lease *coordinationv1.Lease) *coordinationv1.Lease {
	tick := time.NewTicker(turnRenew)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return lease
		}
		next, err := t.write(ctx, lease, t.holder)
		switch {
		case err == nil:
			lease, last = next, time.Now()
			continue
		case apierrors.IsConflict(err):
			// A write whose answer was lost looks the same as somebody else's.
			if now, err := t.look(ctx); err == nil && now != nil && ptr.Deref(now.Spec.HolderIdentity, "") == t.holder {
				lease = now
				continue
			}
			lost(errTurnLost)
		case time.Since(last) > turnGiveUp:
			lost(fmt.Errorf("%w: %w", errTurnLost, err))
		}
	}
}

// release lets the next one have its turn at once. If that fails, it has it when
// this node is taken for dead.
func (t turn) release(ctx context.Context, lease *coordinationv1.Lease) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _ = t.write(ctx, lease, "")
}
