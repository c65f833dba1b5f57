package runtime

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Do carries out one action on p and returns once it is done. p may be nil for
// actions that end things. Errors are of type *pod.ActionError.
//
// When ctx ends Do gives up at once, and what it began the runtime finishes or
// takes back: a kill that is cut short has sent its signal, and another kill
// with a shorter grace overtakes it (SP-44).
func (r *Runtime) Do(ctx context.Context, p *v1.Pod, a pod.Action) error {
	switch a := a.(type) {
	case pod.KillContainer:
		return r.killContainer(ctx, p, a)
	case pod.RemoveContainer:
		return r.removeContainer(ctx, a)
	case pod.StopSandbox:
		return r.stopSandbox(ctx, p, a)
	case pod.RemoveSandbox:
		return r.removeSandbox(ctx, a)
	case pod.CreateSandbox:
		if p != nil {
			return r.createSandbox(ctx, p, a)
		}
	case pod.StartContainer:
		if p != nil {
			return r.startContainer(ctx, p, a)
		}
	case pod.Resize:
		if p != nil {
			return r.resize(ctx, p, a)
		}
	}
	return &pod.ActionError{Reason: eventFailed, Err: fmt.Errorf("%s: not possible without the pod", a)}
}
