package claim

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Unprepare has the drivers take back what was prepared for a pod and that no other
// pod uses. It is called once nothing of the pod runs, and before the API is told so,
// until it succeeds: what the API takes for free others get. Whether the claims are
// still known there does not matter.
func (k *Keeper) Unprepare(ctx context.Context, pod types.UID) error {
	if !k.Holds(pod) {
		return nil
	}
	start := time.Now()
	err := k.unprepare(ctx, pod)
	k.figures.did("UnprepareResources", start, err)
	if err != nil {
		return fmt.Errorf("unprepare dynamic resources: %w", err)
	}
	return nil
}

func (k *Keeper) unprepare(ctx context.Context, pod types.UID) error {
	last := k.leave(pod)
	batches := k.batches(last)
	for _, driver := range slices.Sorted(maps.Keys(batches)) {
		i, err := k.drivers.get(driver)
		if err != nil {
			return err
		}
		if err := i.unprepare(ctx, batches[driver]); err != nil {
			return err
		}
	}
	return k.drop(last)
}

// leave takes the pod off those claims that others use too, and returns the rest,
// which nobody may begin to use. That it is off them is written with the rest: until
// then leaving them once more does no harm.
func (k *Keeper) leave(pod types.UID) (last []*claim) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.claims {
		switch {
		case !c.PodUIDs.Has(string(pod)):
		case len(c.PodUIDs) > 1:
			c.PodUIDs.Delete(string(pod))
		default:
			c.unpreparing = true
			last = append(last, c)
		}
	}
	slices.SortFunc(last, func(a, b *claim) int {
		return slices.Compare([]string{a.Namespace, a.ClaimName}, []string{b.Namespace, b.ClaimName})
	})
	return last
}

// drop forgets claims that are taken back.
func (k *Keeper) drop(claims []*claim) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range claims {
		if k.claims[c.key()] == c { // it may have been prepared anew meanwhile
			delete(k.claims, c.key())
		}
	}
	return k.save()
}

// Abandon does the same for a pod that is gone for good: what fails is tried again
// when a driver comes, and by Keep.
func (k *Keeper) Abandon(ctx context.Context, pod types.UID) {
	err := k.Unprepare(ctx, pod)
	if err != nil && k.life.Err() == nil {
		k.o.Log.LogAttrs(ctx, slog.LevelWarn, "take back devices of a pod that is gone", slog.String("uid", string(pod)), slog.Any("err", err))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		delete(k.late, pod)
	} else {
		k.late[pod] = true
	}
}

// Keep abandons all pods but these, beside the caller.
func (k *Keeper) Keep(keep map[types.UID]bool) { k.abandon(k.others(keep)) }

// arrived tells that a driver can be asked, and asks it for what is late.
func (k *Keeper) arrived() {
	k.mu.Lock()
	late := slices.Sorted(maps.Keys(k.late))
	k.mu.Unlock()
	k.abandon(late)
	k.o.Arrived()
}

// abandon abandons pods beside the caller, unless others are being abandoned: there
// will be another Keep.
func (k *Keeper) abandon(pods []types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(pods) == 0 || k.going {
		return
	}
	k.going = true
	go func() {
		for _, uid := range pods {
			k.Abandon(k.life, uid)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		k.going = false
	}()
}

// others returns the pods that hold claims and are not among those to keep.
func (k *Keeper) others(keep map[types.UID]bool) []types.UID {
	k.mu.Lock()
	defer k.mu.Unlock()
	gone := map[types.UID]bool{}
	for _, c := range k.claims {
		for uid := range c.PodUIDs {
			if !keep[types.UID(uid)] {
				gone[types.UID(uid)] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(gone))
}
