package device

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"boot.internal/kubelet/device/checkpoint"
	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/pod"
)

// Allocate gives every container of a pod the devices it asks for, unless it has
// them.
func (l *Lender) Allocate(ctx context.Context, p *v1.Pod) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	g := l.For(ctx, 0)
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if err := g.Allocate(p, c.Name, numa.Hint{}); err != nil {
			return err
		}
	}
	return nil
}

// resources returns which devices a container asks for, but for those that a claim
// gives it.
func (l *Lender) resources(p *v1.Pod, d pod.Declared) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []string
	for name, q := range d.Resources.Limits {
		if l.all[string(name)] != nil && !q.IsZero() && !pod.Claimed(p, d.Name, name) {
			all = append(all, string(name))
		}
	}
	slices.Sort(all)
	return all
}

// lend gives a container n devices, near to some nodes, and returns which.
func (l *Lender) lend(ctx context.Context, to loan, w wish) ([]string, error) {
	l.mu.Lock()
	has := l.lent[to]
	l.mu.Unlock()
	if has != nil {
		if ids := has.all(); len(ids) == w.n {
			return ids, l.prove(to.resource, has)
		}
		return nil, fmt.Errorf("pod %q container %q changed request for resource %q from %d to %d", to.pod, to.container, to.resource, len(has.all()), w.n)
	}
	e, err := l.pluginOf(to.resource)
	if err != nil {
		return nil, fmt.Errorf("no healthy devices present; cannot allocate unhealthy devices %s", to.resource)
	}
	ids, err := l.pick(ctx, e, to.resource, w)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := e.client.Allocate(ctx, &api.AllocateRequest{
		ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: ids}},
	})
	if err != nil {
		return nil, err
	}
	if len(resp.ContainerResponses) == 0 {
		return nil, fmt.Errorf("no containers return in allocation response %v", resp)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lent[to] = &lease{ids: l.byNUMA(to.resource, ids), resp: resp.ContainerResponses[0]}
	l.save()
	return ids, nil
}

// prove refuses what was lent by an earlier process if it does not work now: a
// container that is made again would start without (upstream says so as well). The
// first time that it works is proof for good.
func (l *Lender) prove(resource string, what *lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	usable := l.all[resource].healthy()
	switch {
	case !what.unproven:
		return nil
	case len(usable) == 0:
		return fmt.Errorf("no healthy devices present; cannot allocate unhealthy devices %s", resource)
	case !what.within(usable):
		return fmt.Errorf("previously allocated devices are no longer healthy; cannot allocate unhealthy devices %s", resource)
	}
	what.unproven = false
	return nil
}

// A wish is what a container is to get of one resource.
type wish struct {
	n     int
	again map[string]bool // devices to be used again
	near  numa.Nodes      // where the others had better be; none: anywhere
}

// pick chooses devices: those to be used again, then those that are near, of each the
// ones the plugin likes best.
func (l *Lender) pick(ctx context.Context, e *endpoint, resource string, w wish) ([]string, error) {
	must := slices.Sorted(maps.Keys(w.again))
	must = must[:min(w.n, len(must))]
	free := l.free(resource)
	left := w.n - len(must)
	if left > len(free) {
		return nil, fmt.Errorf("requested number of devices unavailable for %s. Requested: %d, Available: %d", resource, left, len(free))
	}
	near, rest := l.split(resource, free, w.near)
	if left < len(near) {
		rest = near
	} else {
		must = append(must, near...)
	}
	available := slices.Concat(must, rest)
	if e.options.GetGetPreferredAllocationAvailable() && w.n > len(must) {
		return preferred(ctx, e, available, must, w.n)
	}
	return available[:w.n], nil
}

// preferred asks the plugin which devices go well together.
func preferred(ctx context.Context, e *endpoint, available, must []string, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	resp, err := e.client.GetPreferredAllocation(ctx, &api.PreferredAllocationRequest{
		ContainerRequests: []*api.ContainerPreferredAllocationRequest{{
			AvailableDeviceIDs: available, MustIncludeDeviceIDs: must, AllocationSize: int32(n),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("device plugin GetPreferredAllocation rpc failed with err: %w", err)
	}
	ids := slices.Clone(must)
	for _, r := range resp.GetContainerResponses() {
		for _, id := range r.DeviceIDs { // a plugin may have any ideas
			if len(ids) < n && slices.Contains(available, id) && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range available {
		if len(ids) < n && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// free returns the devices that work and are lent to nobody.
func (l *Lender) free(resource string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	usable := l.all[resource].healthy()
	for to, what := range l.lent {
		if to.resource == resource {
			for _, id := range what.all() {
				delete(usable, id)
			}
		}
	}
	return slices.Sorted(maps.Keys(usable))
}

// byNUMA sorts devices as the checkpoint has them. mu must be held.
func (l *Lender) byNUMA(resource string, ids []string) checkpoint.DevicesPerNUMA {
	all := checkpoint.DevicesPerNUMA{}
	for _, id := range ids {
		nodes := l.device(resource, id).GetTopology().GetNodes()
		if len(nodes) == 0 {
			all[-1] = append(all[-1], id)
		}
		for _, n := range nodes[:min(1, len(nodes))] { // once each
			all[n.ID] = append(all[n.ID], id)
		}
	}
	return all
}

// use returns what a container needs to use its devices, by resource. Plugins
// that want to know of a start are told now.
func (l *Lender) use(ctx context.Context, p *v1.Pod, container string) ([]*api.ContainerAllocateResponse, error) {
	l.mu.Lock()
	mine := map[string]*lease{}
	for to, what := range l.lent {
		if to.pod == p.UID && to.container == container {
			mine[to.resource] = what
		}
	}
	l.mu.Unlock()
	var all []*api.ContainerAllocateResponse
	var failed []error
	for _, name := range slices.Sorted(maps.Keys(mine)) {
		all = append(all, mine[name].resp)
		failed = append(failed, l.prepare(ctx, name, mine[name].all()))
	}
	return all, errors.Join(failed...)
}

func (l *Lender) prepare(ctx context.Context, name string, ids []string) error {
	e, err := l.pluginOf(name)
	if err != nil || !e.options.GetPreStartRequired() {
		return nil //nolint:nilerr // a plugin that is away cannot be asked, and its devices are there
	}
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	if _, err := e.client.PreStartContainer(ctx, &api.PreStartContainerRequest{DevicesIds: ids}); err != nil {
		return fmt.Errorf("device plugin PreStartContainer rpc failed with err: %w", err)
	}
	return nil
}
