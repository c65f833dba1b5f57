// Package runtime looks at what the container runtime has of a pod and does
// one thing at a time to it, over CRI. It is the only package that dials CRI.
// It decides how an action is carried out; which action comes next it leaves to
// kubelet/plan, and what the messages of CRI say to kubelet/spec. It remembers
// nothing of pods: every look is a new one.
package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// Images makes sure that an image is on the node.
type Images interface {
	// Ensure returns the runtime's own record of the image of c, after pulling
	// it if the pull policy says so. Its errors are of type *pod.ActionError.
	Ensure(ctx context.Context, p *v1.Pod, c *v1.Container) (*cri.Image, error)
}

// Volumes makes the volumes of a pod.
type Volumes interface {
	// Setup returns where each volume of p is on the node, by the volume's
	// name. It is called for every container that starts, so where the volumes
	// are there already it changes nothing.
	Setup(ctx context.Context, p *v1.Pod) (map[string]pod.Volume, error)
	// SubPath returns a path on the node that leads to a part of a volume, and
	// goes on to whatever containers do to the volume meanwhile.
	SubPath(ctx context.Context, p *v1.Pod, sub pod.SubPath) (string, error)
}

// Cgroups makes the cgroup of a pod.
type Cgroups interface {
	// Create returns the name, as the runtime takes it, of the cgroup of p. Like
	// Setup it is called again and again.
	Create(p *v1.Pod) (parent string, err error)
	// Raise and Update give the cgroup of p, if there is one, the limits of p:
	// those that are higher than now, or all of them.
	Raise(p *v1.Pod) error
	Update(p *v1.Pod) error
}

// Devices knows of the devices that containers use.
type Devices interface {
	// Equip adds to the container about to be made what its devices need.
	Equip(ctx context.Context, p *v1.Pod, container string, c *cri.ContainerConfig) error
}

// Options are what a Runtime is made of. All are required that do not say
// otherwise.
type Options struct {
	CRI     cri.RuntimeServiceClient // see Dial
	Images  Images
	Volumes Volumes // nil: pods have no volumes
	Cgroups Cgroups // nil: the runtime chooses the cgroup
	// Objects and Services are what environments are made of; nil: there is no
	// API server to have them.
	Objects  Objects
	Services Services
	Classes  Classes // nil: there is none
	Users    Users   // nil: no pod has users of its own

	Devices Devices // nil: there are none

	// Node returns the facts of the node as they are now.
	Node func() spec.Node
	// ResolvConf is the path of the resolv.conf pods inherit; "" has them ask the
	// name server that listens beside them.
	ResolvConf string
	// SandboxSeccomp is the path of a seccomp profile for sandboxes of the default
	// handler; "" for the runtime's own.
	SandboxSeccomp string

	PodsDir          string // one directory per pod UID; upstream's is /var/lib/kubelet/pods
	PodLogsDir       string // container logs; upstream's is /var/log/pods
	ContainerLogsDir string // links to the logs, flat, as log shippers expect; "" for none

	// KillMessage puts the event of a kill into words, as plan.Message does.
	KillMessage func(pod.KillContainer) string
	// Event records what happened to a container of a pod, or, where that is "",
	// to the pod. It must not block.
	Event func(p *v1.Pod, container, eventType, reason, message string)
	Log   *slog.Logger

	// Timeout bounds each call that has no waiting of its own; 0 means 2 min.
	Timeout time.Duration
}

// A Runtime looks at pods and acts on them. It is safe for concurrent use.
type Runtime struct {
	o     Options
	exits exits
	turns *turns // of calls that start something
}

// DefaultTimeout is upstream's for calls of the runtime.
const DefaultTimeout = 2 * time.Minute

// New returns a Runtime on a connection made by Dial or by a fake.
func New(o Options) *Runtime {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Runtime{o: o, turns: newTurns()}
}

// bounded returns ctx with the deadline of a call that may wait for extra
// beside its work.
func (r *Runtime) bounded(ctx context.Context, extra time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, r.o.Timeout+extra)
}

// event records what happened to p. Of a pod no longer known it says nothing,
// for there is nothing left to record it on.
func (r *Runtime) event(p *v1.Pod, container, eventType, reason, message string) {
	if p != nil {
		r.o.Event(p, container, eventType, reason, message)
	}
}

// failed returns err as the outcome of an action, and records it as an event,
// unless the action was only cut short: then the error is context.Canceled.
func (r *Runtime) failed(ctx context.Context, p *v1.Pod, container, reason string, err error) error {
	if known := (*pod.ActionError)(nil); errors.As(err, &known) {
		return err
	}
	if canceled := ctx.Err(); errors.Is(canceled, context.Canceled) {
		// A gRPC status does not say so itself.
		return &pod.ActionError{Reason: reason, Err: fmt.Errorf("%w: %w", canceled, err)}
	}
	r.event(p, container, v1.EventTypeWarning, eventReason(reason), eventMessage(reason, err))
	return &pod.ActionError{Reason: reason, Err: err}
}
