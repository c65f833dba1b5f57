package kubelet

import (
	"context"
	"errors"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
)

// An attempt is an action on a pod that was made, whatever came of it.
type attempt struct {
	pod     *v1.Pod // nil where it is not known any more
	action  pod.Action
	handler string // the pod's RuntimeClass
	since   time.Time
	err     error
}

// attempt makes an action, and counts it unless it was cut short.
func (g gate) attempt(ctx context.Context, p *v1.Pod, a pod.Action) error {
	done := attempt{pod: p, action: a, since: time.Now()}
	if p != nil {
		done.handler = ptr.Deref(p.Spec.RuntimeClassName, "")
	}
	done.err = g.Runtime.Do(ctx, p, a)
	if !errors.Is(done.err, context.Canceled) {
		g.k.metrics.figures.did(done)
	}
	return done.err
}

// kind returns upstream's word for the kind of a container.
func (a attempt) kind(container string) string {
	if a.pod == nil {
		return ""
	}
	d, _ := pod.Find(a.pod, container)
	switch d.Kind {
	case pod.Init, pod.Sidecar:
		return "init_container"
	case pod.Ephemeral:
		return "ephemeral_container"
	}
	return "container"
}

// reasonOf returns why an action failed in the words of a container status.
func reasonOf(err error) string {
	if known, ok := errors.AsType[*pod.ActionError](err); ok {
		return known.Reason
	}
	return "Unknown"
}
