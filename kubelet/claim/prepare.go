package claim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
	dra "k8s.io/kubelet/pkg/apis/dra/v1"

	"boot.internal/kubelet/claim/checkpoint"
)

// getTimeout is what the API is given to tell of one claim.
const getTimeout = 10 * time.Second

// Prepare has the drivers prepare what a pod claims, unless it is prepared. It is
// called before anything of the pod is made, and again after it failed: until then
// it may have done a part, which Unprepare takes back. Its errors are upstream's.
func (k *Keeper) Prepare(ctx context.Context, p *v1.Pod) error {
	if !Needs(p) {
		return nil
	}
	start := time.Now()
	err := k.prepare(ctx, p)
	k.figures.did("PrepareResources", start, err)
	if err != nil {
		return fmt.Errorf("prepare dynamic resources: %w", err)
	}
	return nil
}

// prepare looks at everything before it notes anything: of a pod that failed by
// then nothing has to be taken back, which may need a driver that never was here.
func (k *Keeper) prepare(ctx context.Context, p *v1.Pod) error {
	names, err := namesOf(p)
	if err != nil {
		return err
	}
	var all []*claim
	for _, n := range names {
		c, err := k.look(ctx, p, n)
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	pending, err := k.enlist(p.UID, all)
	if err != nil {
		return err
	}
	if err := k.callDrivers(ctx, pending); err != nil {
		return err
	}
	return k.finish(pending)
}

// A name is that of a claim of a pod.
type name struct {
	claim string
	owned bool // it was made for this pod
}

// namesOf returns the names of the claims of a pod. A claim may turn out not to be
// needed: then nobody makes one.
func namesOf(p *v1.Pod) ([]name, error) {
	var all []name
	for i := range p.Spec.ResourceClaims {
		n, owned, err := resourceclaim.Name(p, &p.Spec.ResourceClaims[i])
		if err != nil {
			return nil, err
		}
		if n != nil {
			all = append(all, name{*n, owned})
		}
	}
	if s := p.Status.ExtendedResourceClaimStatus; s != nil {
		all = append(all, name{claim: s.ResourceClaimName})
	}
	return all, nil
}

// look asks the API for a claim, and whether the pod may use it.
func (k *Keeper) look(ctx context.Context, p *v1.Pod, n name) (*claim, error) {
	is, err := k.get(ctx, p.Namespace, n.claim)
	if err != nil {
		return nil, fmt.Errorf("fetch ResourceClaim %s: %w", n.claim, err)
	}
	if n.owned {
		if err := resourceclaim.IsForPod(p, is, false); err != nil {
			return nil, err
		}
	}
	if !resourceclaim.IsReservedForPod(p, is, false) {
		return nil, fmt.Errorf("pod %s (%s) is not allowed to use ResourceClaim %s (%s)", p.Name, p.UID, n.claim, is.UID)
	}
	c, err := newClaim(is)
	if err != nil {
		return nil, fmt.Errorf("ResourceClaim %s: %w", is.Name, err)
	}
	for _, driver := range slices.Sorted(maps.Keys(c.DriverState)) {
		if _, err := k.drivers.get(driver); err != nil { // the pod is of no use without it
			return nil, err
		}
	}
	return c, nil
}

func (k *Keeper) get(ctx context.Context, namespace, name string) (*resourceapi.ResourceClaim, error) {
	client := k.o.Client()
	if client == nil {
		return nil, errNoAPI
	}
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	return client.ResourceV1().ResourceClaims(namespace).Get(ctx, name, metav1.GetOptions{})
}

// newClaim returns what there is to prepare of a claim.
func newClaim(is *resourceapi.ResourceClaim) (*claim, error) {
	if is.Status.Allocation == nil {
		return nil, errors.New("not allocated")
	}
	c := &claim{Claim: checkpoint.Claim{
		ClaimUID: is.UID, ClaimName: is.Name, Namespace: is.Namespace,
		PodUIDs: sets.New[string](), DriverState: map[string]checkpoint.Driver{},
	}}
	for _, r := range is.Status.Allocation.Devices.Results {
		c.DriverState[r.Driver] = checkpoint.Driver{}
	}
	return c, nil
}

// enlist notes on disk that the pod uses the claims, and returns those that are
// still to be prepared.
func (k *Keeper) enlist(uid types.UID, all []*claim) (pending []*claim, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.known(); err != nil {
		return nil, err
	}
	for _, c := range all {
		if err := k.mayUse(c); err != nil {
			return nil, err
		}
	}
	for _, c := range all {
		if old, ok := k.claims[c.key()]; ok {
			c = old
		} else {
			k.claims[c.key()] = c
		}
		c.PodUIDs.Insert(string(uid))
		if !c.prepared && !slices.Contains(pending, c) {
			pending = append(pending, c)
		}
	}
	return pending, k.save()
}

// mayUse returns why a claim cannot be used now, if so. mu must be held.
func (k *Keeper) mayUse(c *claim) error {
	old, ok := k.claims[c.key()]
	switch {
	case !ok:
		return nil
	case old.ClaimUID != c.ClaimUID:
		return fmt.Errorf("old ResourceClaim with same name %s and different UID %s still exists (previous pod force-deleted?!)", c.ClaimName, old.ClaimUID)
	case old.unpreparing:
		return fmt.Errorf("ResourceClaim %s is being unprepared", c.ClaimName)
	}
	return nil
}

// callDrivers has every driver prepare its part of the claims, all of them in one
// call.
func (k *Keeper) callDrivers(ctx context.Context, claims []*claim) error {
	batches := k.batches(claims)
	for _, driver := range slices.Sorted(maps.Keys(batches)) {
		i, err := k.drivers.get(driver)
		if err != nil {
			return err
		}
		answers, err := i.prepare(ctx, batches[driver])
		if err != nil {
			return err
		}
		k.mu.Lock()
		for _, c := range claims {
			if a, ok := answers[string(c.ClaimUID)]; ok {
				c.DriverState[driver] = checkpoint.Driver{Devices: devicesOf(a)}
			}
		}
		k.mu.Unlock()
	}
	return nil
}

// batches returns what each driver is called with.
func (k *Keeper) batches(claims []*claim) map[string][]*dra.Claim {
	k.mu.Lock()
	defer k.mu.Unlock()
	batches := map[string][]*dra.Claim{}
	for _, c := range claims {
		for driver := range c.DriverState {
			batches[driver] = append(batches[driver], &dra.Claim{Namespace: c.Namespace, Uid: string(c.ClaimUID), Name: c.ClaimName})
		}
	}
	return batches
}

func devicesOf(a *dra.NodePrepareResourceResponse) []checkpoint.Device {
	all := make([]checkpoint.Device, 0, len(a.Devices))
	for _, d := range a.Devices {
		all = append(all, checkpoint.Device{
			PoolName: d.PoolName, DeviceName: d.DeviceName, ShareID: (*types.UID)(d.ShareId),
			RequestNames: d.RequestNames, CDIDeviceIDs: d.CdiDeviceIds,
		})
	}
	return all
}

// finish notes that claims are prepared.
func (k *Keeper) finish(claims []*claim) error {
	if len(claims) == 0 {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range claims {
		c.prepared = true
	}
	return k.save()
}
