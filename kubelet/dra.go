package kubelet

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/claim"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// newClaims makes what has drivers prepare the devices that pods claim.
func (k *kubelet) newClaims(ctx context.Context) {
	k.withheld = map[types.UID]v1.PodStatus{}
	k.claims = claim.New(ctx, claim.Options{
		Dir: k.o.RootDir, Node: k.o.Node, Client: k.apiClient,
		Arrived: func() { go k.dispatch.retry(ctx) },
		Changed: func(pods []types.UID) { go k.pokePods(ctx, pods) },
		Log:     k.o.Logger,
	})
}

// pokePods has another look at desired pods.
func (k *kubelet) pokePods(ctx context.Context, uids []types.UID) {
	for _, p := range k.desired() {
		if slices.Contains(uids, p.UID) {
			k.dispatch.poke(ctx, pod.KeyOf(p))
		}
	}
}

// prepareClaims has what a pod claims prepared before anything of it is made. Where
// that fails the pod waits, and says why.
func (k *kubelet) prepareClaims(ctx context.Context, p *v1.Pod) error {
	err := k.claims.Prepare(ctx, p)
	if err == nil {
		return nil
	}
	const reason = "FailedPrepareDynamicResources"
	if ctx.Err() == nil {
		k.events.ofPod(p, v1.EventTypeWarning, reason, "Failed to prepare dynamic resources: "+err.Error())
	}
	return &pod.ActionError{Reason: reason, Err: err}
}

// Equipment is what containers are given beside what their images hold: what is
// claimed, what CPUs and memory are for it alone, then what plugins lend.
type equipment struct{ k *kubelet }

// Equip implements runtime.Devices.
func (e equipment) Equip(ctx context.Context, p *v1.Pod, container string, c *cri.ContainerConfig) error {
	if err := e.k.claims.Equip(ctx, p, container, c); err != nil {
		return err
	}
	e.k.places.equip(p, container, c)
	return e.k.devices.Equip(ctx, p, container, c)
}

// addHealth adds how the devices are that a pod claims.
func (k *kubelet) addHealth(in *status.Input) {
	if !claim.Needs(in.Pod) {
		return
	}
	all := maps.Clone(in.Have.Devices)
	for container, list := range k.claims.Health(in.Pod) {
		if all == nil {
			all = map[string][]v1.ResourceStatus{}
		}
		all[container] = slices.Concat(all[container], list)
	}
	in.Have.Devices = all
}

// withhold returns the status of a pod to be said now: that it has ended is not,
// as long as something is prepared for it. The API would let others have that.
func (k *kubelet) withhold(p *v1.Pod, before, now v1.PodStatus) v1.PodStatus {
	if !claim.Needs(p) || !hasEnded(&v1.Pod{Status: now}) || hasEnded(&v1.Pod{Status: before}) || !k.claims.Holds(p.UID) {
		return now
	}
	k.mu.Lock()
	k.withheld[p.UID] = now
	k.mu.Unlock()
	now.Phase, now.Reason, now.Message = before.Phase, before.Reason, before.Message
	if now.Phase == "" {
		now.Phase = v1.PodPending
	}
	return now
}

// giveBackClaims has taken back what was prepared for a pod of which nothing runs.
// Then its end may be said.
func (k *kubelet) giveBackClaims(ctx context.Context, p *v1.Pod) error {
	if err := k.claims.Unprepare(ctx, p.UID); err != nil {
		return err
	}
	k.mu.Lock()
	s, ok := k.withheld[p.UID]
	delete(k.withheld, p.UID)
	k.mu.Unlock()
	if ok {
		k.sayOver(p, s)
	}
	return nil
}

// forgetClaims has taken back what was prepared for a pod that is gone. Nobody waits
// for a driver that is gone as well.
func (k *kubelet) forgetClaims(ctx context.Context, uid types.UID) {
	k.mu.Lock()
	delete(k.withheld, uid)
	k.mu.Unlock()
	k.claims.Abandon(ctx, uid)
}

// sameClaims reports whether two statuses name the same claims: others make claims
// for a pod, and that may be after the pod was sent here.
func sameClaims(a, b v1.PodStatus) bool {
	return equality.Semantic.DeepEqual(a.ResourceClaimStatuses, b.ResourceClaimStatuses) &&
		equality.Semantic.DeepEqual(a.ExtendedResourceClaimStatus, b.ExtendedResourceClaimStatus)
}
