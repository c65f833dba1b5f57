package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// resize changes the resources of a pod while it runs. The pod's cgroup grows
// before its containers and shrinks after them, so that it always holds them.
func (r *Runtime) resize(ctx context.Context, p *v1.Pod, a pod.Resize) error {
	if err := r.shrinkable(ctx, p, a.Containers); err != nil {
		return r.notResized(ctx, err)
	}
	if r.o.Cgroups != nil {
		if err := r.o.Cgroups.Raise(p); err != nil {
			return r.notResized(ctx, err)
		}
	}
	for _, c := range a.Containers {
		if err := r.updateContainer(ctx, p, c); err != nil {
			return r.notResized(ctx, err)
		}
	}
	if r.o.Cgroups != nil {
		if err := r.o.Cgroups.Update(p); err != nil {
			return r.notResized(ctx, err)
		}
	}
	return nil
}

// notResized returns the outcome of a resize. Its event is made from the
// condition that shows it.
func (r *Runtime) notResized(ctx context.Context, err error) error {
	if canceled := ctx.Err(); errors.Is(canceled, context.Canceled) {
		err = fmt.Errorf("%w: %w", canceled, err)
	}
	return &pod.ActionError{Reason: v1.PodReasonError, Err: err}
}

func (r *Runtime) updateContainer(ctx context.Context, p *v1.Pod, c pod.Instance) error {
	d, ok := pod.Find(p, c.Name)
	if !ok {
		return fmt.Errorf("container %q is not in the pod", c.Name)
	}
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	_, err := r.o.CRI.UpdateContainerResources(ctx, &cri.UpdateContainerResourcesRequest{
		ContainerId: c.ID, Linux: spec.Resources(p, d, r.o.Node()),
	})
	if err != nil {
		return fmt.Errorf("update resources of container %q: %w", c.Name, err)
	}
	return nil
}

// shrinkable returns why memory limits cannot be set: the kernel would kill what
// is above them. It is the best that can be done, since use may grow until then.
func (r *Runtime) shrinkable(ctx context.Context, p *v1.Pod, resized []pod.Instance) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	stats, err := r.o.CRI.ListContainerStats(ctx, &cri.ListContainerStatsRequest{
		Filter: &cri.ContainerStatsFilter{LabelSelector: map[string]string{pod.LabelPodUID: string(p.UID)}},
	})
	if err != nil {
		return fmt.Errorf("unable to read memory usage for pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	used, total := map[string]uint64{}, uint64(0)
	for _, s := range stats.GetStats() {
		n := s.GetMemory().GetUsageBytes().GetValue()
		used[s.GetAttributes().GetId()] = n
		total += n
	}
	var wrong []string
	if limit := spec.PodMemoryLimit(p); limit > 0 && total >= uint64(limit) {
		wrong = append(wrong, fmt.Sprintf("attempting to set pod memory limit (%d) below current usage (%d)", limit, total))
	}
	for _, c := range resized {
		d, _ := pod.Find(p, c.Name)
		limit := spec.Resources(p, d, r.o.Node()).MemoryLimitInBytes
		if limit > 0 && used[c.ID] >= uint64(limit) {
			wrong = append(wrong, fmt.Sprintf(
				"attempting to set container %q memory limit (%d) below current usage (%d)", c.Name, limit, used[c.ID]))
		}
	}
	return cannotShrink(wrong)
}

func cannotShrink(wrong []string) error {
	switch len(wrong) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("cannot decrease memory limits: %s", wrong[0])
	}
	return fmt.Errorf("cannot decrease memory limits: [%s]", strings.Join(wrong, ", "))
}
