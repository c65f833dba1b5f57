package kubelet

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/resize"
)

// allocate returns the desired pods with those that are admitted as they are
// allocated, which is not what they ask for while there is no room (KEP-1287).
func (d *dispatcher) allocate(queue, going []*v1.Pod) []*v1.Pod {
	if d.ledger == nil {
		return queue
	}
	admitted := slices.DeleteFunc(slices.Clone(queue), func(p *v1.Pod) bool { return !d.isAdmitted(p) })
	all, news := d.ledger.Settle(admitted, going, d.admission.node(), d.isOver)
	for _, n := range news {
		d.resizeNews(n)
		if w, ok := d.workers[pod.KeyOf(n.Pod)]; ok {
			w.Poke()
		}
	}
	return append(all, slices.DeleteFunc(slices.Clone(queue), d.isAdmitted)...)
}

// sayResize tells of a resize that starts or waits.
func (k *kubelet) sayResize(n resize.News) {
	switch n.Reason {
	case "":
	case "ResizeStarted":
		k.events.ofPod(n.Pod, v1.EventTypeNormal, n.Reason, n.Message)
	default:
		k.events.ofPod(n.Pod, v1.EventTypeWarning, n.Reason, n.Message)
	}
}

// sayResized tells of a resize that was applied, or could not be, by what was
// said of the pod before and now.
func (k *kubelet) sayResized(p *v1.Pod, before, now v1.PodStatus) {
	was, is := progress(before), progress(now)
	switch {
	case was != nil && is == nil && now.Phase != v1.PodSucceeded && now.Phase != v1.PodFailed:
		k.events.ofPod(p, v1.EventTypeNormal, "ResizeCompleted", resize.Completed(p, was.ObservedGeneration))
	case is != nil && is.Reason == v1.PodReasonError && (was == nil || was.Reason != is.Reason || was.Message != is.Message):
		k.events.ofPod(p, v1.EventTypeWarning, "ResizeError", resize.Failed(p, is.ObservedGeneration, is.Message))
	}
}

func progress(s v1.PodStatus) *v1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == v1.PodResizeInProgress {
			return &s.Conditions[i]
		}
	}
	return nil
}

// Observe looks at a pod for its worker, notes what that is shown, and adds what
// its containers were given and lent.
func (g gate) Observe(ctx context.Context, key pod.Key) (pod.Observed, error) {
	have, err := g.Runtime.Observe(ctx, key)
	if err == nil {
		g.k.looks.saw(key, have)
	}
	if len(have.Sandboxes) > 0 {
		have.Applied = g.k.ledger.Applied(have.Sandboxes[0].UID)
		have.Devices = g.k.devices.Health(have.Sandboxes[0].UID)
	}
	return have, err
}

// starting notes what is about to be made with the resources of the pod.
func (k *kubelet) starting(p *v1.Pod, a pod.Action) {
	switch a := a.(type) {
	case pod.CreateSandbox:
		k.ledger.Starts(p, "")
	case pod.StartContainer:
		k.ledger.Starts(p, a.Name)
	}
}

// resized notes what was made smaller or bigger.
func (k *kubelet) resized(p *v1.Pod, a pod.Action) {
	if r, ok := a.(pod.Resize); ok {
		k.ledger.Resized(p, r.Containers)
	}
}
