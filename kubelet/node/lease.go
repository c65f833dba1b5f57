package node

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	coordination "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// A renewal is the heartbeat of the node. Of its goroutine alone.
type renewal struct {
	k     *Keeper
	api   coordinationv1.LeaseInterface
	lease *coordination.Lease // as it was written last; nil if that is not known
}

// renew keeps the lease of the node once it is registered, at a quarter of its
// duration.
func (k *Keeper) renew(ctx context.Context, client API) {
	select {
	case <-ctx.Done():
		return
	case <-k.exists:
	}
	r := &renewal{k: k, api: client.CoordinationV1().Leases(v1.NamespaceNodeLease)}
	every := k.o.LeaseFor / 4
	var failing time.Time
	said := ""
	for {
		wait := every
		if err := r.once(ctx); err != nil && ctx.Err() == nil {
			if failing.IsZero() {
				failing = time.Now()
			}
			wait = min(firstWait+time.Since(failing)/3, every)
			if said != err.Error() {
				said = err.Error()
				k.o.Log.Warn("cannot renew lease of node", slog.Any("err", err))
			}
		} else {
			failing, said = time.Time{}, ""
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// once renews the lease as it was written last; where that fails it looks
// whether there is one, the next time around.
func (r *renewal) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var err error
	if r.lease == nil {
		if r.lease, err = r.get(ctx); err != nil {
			return err
		}
	}
	next := r.lease.DeepCopy()
	r.fill(next)
	if next.ResourceVersion == "" {
		r.lease, err = r.api.Create(ctx, next, metav1.CreateOptions{})
	} else {
		r.lease, err = r.api.Update(ctx, next, metav1.UpdateOptions{})
	}
	if err != nil {
		r.lease = nil
		return fmt.Errorf("renew lease: %w", err)
	}
	return nil
}

// get returns the lease, or an empty one to be created.
func (r *renewal) get(ctx context.Context) (*coordination.Lease, error) {
	lease, err := r.api.Get(ctx, r.k.o.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: r.k.o.Name, Namespace: v1.NamespaceNodeLease}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get lease: %w", err)
	}
	return lease, nil
}

// fill writes holder, duration, time and owner.
func (r *renewal) fill(lease *coordination.Lease) {
	lease.Spec.HolderIdentity = &r.k.o.Name
	lease.Spec.LeaseDurationSeconds = new(int32(r.k.o.LeaseFor / time.Second))
	lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	if n := r.k.Node(); n != nil { // else it belongs to whom it belonged
		lease.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: n.Name, UID: n.UID}}
	}
}
