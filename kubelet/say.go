package kubelet

import (
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// say makes the status of a pod from a look at it and hands it to the writer.
// It is called on the pod's worker and never waits.
func (k *kubelet) say(key pod.Key, want *pod.Want, have pod.Observed) {
	in := status.Input{Have: have, Now: time.Now(), HostIPs: k.o.NodeIPs, Runtime: k.runtimeName()}
	if want != nil {
		in.Pod, in.Stop = want.Pod, want.Stop
		k.sayAlone(want.Pod, have)
	} else {
		if in.Pod = k.goingPod(key); in.Pod == nil {
			return // nobody remembers it, so there is nobody to tell
		}
		if !pod.IsStatic(in.Pod) {
			return // the API does not know it any more either
		}
		in.Removed = true
	}
	in.Prev, _ = k.writer.Get(in.Pod.UID)
	in.Resize = k.ledger.State(in.Pod.UID)
	k.addHealth(&in)
	now := k.withhold(in.Pod, in.Prev, status.Of(in))
	k.sayResized(in.Pod, in.Prev, now)
	k.metrics.said(in.Prev, now)
	k.diary.said(in.Pod, in.Prev, now)
	if want != nil && hasEnded(&v1.Pod{Status: now}) {
		k.sayOver(in.Pod, now)
		return
	}
	k.noteOver(in.Pod.UID, false)
	k.writer.Set(in.Pod, now)
	k.podChanged()
}

// sayOver tells of the end of a pod. What it had is free before anybody hears of that:
// others may come for it at once.
func (k *kubelet) sayOver(p *v1.Pod, s v1.PodStatus) {
	k.devices.Forget(p.UID)
	k.places.forget(p.UID)
	k.noteOver(p.UID, true)
	k.writer.Set(p, s)
	k.podChanged()
}

// sayAlone tells the mirrors if nothing runs under a pod's name that is not the
// pod's: the mirror of a version before is right for as long as that ends (SP-56).
func (k *kubelet) sayAlone(p *v1.Pod, have pod.Observed) {
	if pod.IsStatic(p) && alone(p.UID, have) {
		k.mirrors.Succeeded(p)
	}
}

func alone(uid types.UID, have pod.Observed) bool {
	return !slices.ContainsFunc(have.Sandboxes, func(s pod.Sandbox) bool { return s.UID != uid && s.Ready }) &&
		!slices.ContainsFunc(have.Containers, func(c pod.Container) bool {
			return c.PodUID != uid && (c.State == pod.Running || c.State == pod.Unknown)
		})
}

// adopt goes on from what an earlier process told the API: a container that had
// started has, and one that was ready is (IC-26).
func (k *kubelet) adopt(ctx context.Context, p *v1.Pod, held v1.PodStatus) {
	for id, v := range status.Seeds(held) {
		k.prober.Seed(id, v)
	}
	go k.dispatch.poke(ctx, pod.KeyOf(p))
}

// greet takes the pods of the API as that has them now. Of those that are new the
// probes go on from what an earlier process said (IC-26).
func (k *kubelet) greet(pods []*v1.Pod) {
	k.mu.Lock()
	k.heard = pods
	k.mu.Unlock()
	for _, p := range pods {
		if pod.IsStatic(p) || !k.writer.See(p) {
			continue
		}
		for id, v := range status.Seeds(p.Status) {
			k.prober.Seed(id, v)
		}
	}
}

// startTime returns when a pod was first seen here, zero if it was not.
func (k *kubelet) startTime(uid types.UID) time.Time {
	if s, ok := k.writer.Get(uid); ok && s.StartTime != nil {
		return s.StartTime.Time
	}
	return time.Time{}
}

// sayExpired tells of a pod that reached its deadline.
func (k *kubelet) sayExpired(p *v1.Pod) {
	k.events.ofPod(p, v1.EventTypeNormal, deadlineReason, deadlineMessage)
}

// setDesired keeps who is desired for those who ask, and tells the mirrors: a
// rejected pod has one as well, which says why.
func (k *kubelet) setDesired(admitted, rejected, going []*v1.Pod) {
	desired := slices.Concat(admitted, rejected)
	k.mu.Lock()
	k.now, k.rejected, k.going = desired, rejected, going
	k.said = len(*k.pending.Load()) == 0
	k.mu.Unlock()
	k.diary.desired(admitted)
	k.setObjects(admitted, going)
	k.podChanged()
	k.podKnown()
	k.mirrors.SetStatic(slices.Concat(desired, going), *k.pending.Load()...)
	for _, p := range rejected { // nobody looks whether anything runs of those before
		k.mirrors.Succeeded(p)
	}
}

func (k *kubelet) goingPod(key pod.Key) *v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.going {
		if pod.KeyOf(p) == key {
			return p
		}
	}
	return nil
}

// desired returns the pods that are wanted now. They are shared.
func (k *kubelet) desired() []*v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.now
}

// Pods returns the desired pods with their latest status.
func (k *kubelet) Pods() []v1.Pod {
	all := make([]v1.Pod, 0)
	for _, p := range k.desired() {
		p := p.DeepCopy()
		if s, ok := k.writer.Get(p.UID); ok {
			p.Status = s
		}
		all = append(all, *p)
	}
	return all
}
