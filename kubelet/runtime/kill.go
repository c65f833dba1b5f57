package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// minStop is what every container gets between signal and kill, whatever its
// hook and the containers before it used up (SP-44, IC-34).
const minStop = 2 * time.Second

// killContainer stops a running container:
//
//	preStop hook ──► wait for those to go before ──► signal ──► kill
//	└──────────────── one grace for all ────────────────────┘
//
// What was written on the container when it was made is enough for it, so that
// it also works for pods no longer known.
func (r *Runtime) killContainer(ctx context.Context, p *v1.Pod, a pod.KillContainer) error {
	deadline := time.Now().Add(a.Grace)
	ctx, cancel := r.bounded(ctx, a.Grace+minStop)
	defer cancel()
	c, err := r.ContainerStatus(ctx, a.ID)
	if isNotFound(err) || err == nil && !mayRun(c.State) {
		return nil
	}
	if err != nil {
		return r.failed(ctx, p, a.Name, reasonKillContainer, fmt.Errorf("stop container %q: %w", a.Name, err))
	}
	r.event(p, a.Name, v1.EventTypeNormal, eventKilling, r.o.KillMessage(a))
	if a.Hook && a.Grace > 0 && c.State == cri.ContainerState_CONTAINER_RUNNING {
		r.preStop(ctx, p, c, deadline)
	}
	r.awaitExits(ctx, a.After, deadline)
	if err := r.stopContainer(ctx, a.ID, max(time.Until(deadline), minStop)); err != nil && !isNotFound(err) {
		return r.failed(ctx, p, a.Name, reasonKillContainer, fmt.Errorf("stop container %q: %w", a.Name, err))
	}
	return nil
}

func mayRun(s cri.ContainerState) bool {
	return s == cri.ContainerState_CONTAINER_RUNNING || s == cri.ContainerState_CONTAINER_UNKNOWN
}

// ContainerStatus returns all that the runtime says of one container.
func (r *Runtime) ContainerStatus(ctx context.Context, id string) (*cri.ContainerStatus, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	return resp.GetStatus(), err
}

// errHookLasts says of a hook that its time is up.
var errHookLasts = errors.New("it has not ended within the grace period")

// preStop runs the hook written on the container. That it fails or takes too
// long is told, but keeps nothing from stopping. As upstream, a hook whose time is up
// is not ended: it may finish what it does until the container is killed, which it is
// with.
func (r *Runtime) preStop(ctx context.Context, p *v1.Pod, c *cri.ContainerStatus, deadline time.Time) {
	h := preStop(c.Annotations)
	if h == nil {
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- r.runHook(ctx, h, c.Id, ports(c.Annotations)) }()
	due, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	var err error
	select {
	case err = <-ended:
	case <-due.Done():
		err = errHookLasts
	}
	if err != nil && ctx.Err() == nil {
		r.event(p, c.GetMetadata().GetName(), v1.EventTypeWarning, eventFailedPreStop, "PreStopHook failed: "+err.Error())
		r.o.Log.Warn("preStop hook failed", slog.String("container", c.GetMetadata().GetName()), slog.Any("err", err))
	}
}

// stopContainer sends the stop signal and, after grace, kills. Seconds are all
// that CRI knows.
func (r *Runtime) stopContainer(ctx context.Context, id string, grace time.Duration) error {
	_, err := r.o.CRI.StopContainer(ctx, &cri.StopContainerRequest{
		ContainerId: id, Timeout: int64(math.Ceil(grace.Seconds())),
	})
	return err
}
