package device

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	told "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/device/checkpoint"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/socket"
)

// Tell tells agents of the node, by the API of podresources (KEP-606), which
// devices containers have. It listens in a directory, which is
// /var/lib/kubelet/pod-resources, until ctx ends. pods returns those that run or
// are to.
func (l *Lender) Tell(ctx context.Context, dir string, pods func() []*v1.Pod) error {
	return socket.Serve(ctx, socket.Options{
		Path:     filepath.Join(dir, "kubelet.sock"),
		Register: func(r grpc.ServiceRegistrar) { told.RegisterPodResourcesListerServer(r, teller{l: l, pods: pods}) },
		Unary:    l.requests.count,
	})
}

type teller struct {
	told.UnimplementedPodResourcesListerServer
	l    *Lender
	pods func() []*v1.Pod
}

// List tells of all pods.
func (t teller) List(context.Context, *told.ListPodResourcesRequest) (*told.ListPodResourcesResponse, error) {
	out := &told.ListPodResourcesResponse{}
	for _, p := range t.pods() {
		out.PodResources = append(out.PodResources, t.of(p))
	}
	return out, nil
}

// Get tells of one pod.
func (t teller) Get(_ context.Context, r *told.GetPodResourcesRequest) (*told.GetPodResourcesResponse, error) {
	for _, p := range t.pods() {
		if p.Name == r.PodName && p.Namespace == r.PodNamespace {
			return &told.GetPodResourcesResponse{PodResources: t.of(p)}, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "pod %s in namespace %s not found", r.PodName, r.PodNamespace)
}

// GetAllocatableResources tells of all devices that work, and of CPUs and memory.
func (t teller) GetAllocatableResources(context.Context, *told.AllocatableResourcesRequest) (*told.AllocatableResourcesResponse, error) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	out := &told.AllocatableResourcesResponse{}
	for _, name := range slices.Sorted(maps.Keys(t.l.all)) {
		ids := slices.Sorted(maps.Keys(t.l.all[name].healthy()))
		out.Devices = append(out.Devices, perNode(name, t.l.byNUMA(name, ids))...)
	}
	if t.l.o.OwnAll != nil {
		t.l.o.OwnAll(out)
	}
	return out, nil
}

// of tells of one pod. Init containers that end have nothing for long.
func (t teller) of(p *v1.Pod) *told.PodResources {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	out := &told.PodResources{Name: p.Name, Namespace: p.Namespace}
	for _, d := range pod.Containers(p) {
		if d.Kind != pod.Regular && d.Kind != pod.Sidecar {
			continue
		}
		c := &told.ContainerResources{Name: d.Name}
		for to, what := range t.l.lent {
			if to.pod == p.UID && to.container == d.Name {
				c.Devices = append(c.Devices, perNode(to.resource, what.ids)...)
			}
		}
		if t.l.o.Claimed != nil {
			c.DynamicResources = t.l.o.Claimed(p, d.Container)
		}
		if t.l.o.Own != nil {
			t.l.o.Own(p, d.Name, c)
		}
		slices.SortStableFunc(c.Devices, func(a, b *told.ContainerDevices) int { return cmp.Compare(a.ResourceName, b.ResourceName) })
		out.Containers = append(out.Containers, c)
	}
	return out
}

// perNode returns devices by the NUMA node they are near to.
func perNode(name string, ids checkpoint.DevicesPerNUMA) []*told.ContainerDevices {
	var all []*told.ContainerDevices
	for _, node := range slices.Sorted(maps.Keys(ids)) {
		d := &told.ContainerDevices{ResourceName: name, DeviceIds: ids[node]}
		if node >= 0 {
			d.Topology = &told.TopologyInfo{Nodes: []*told.NUMANode{{ID: node}}}
		}
		all = append(all, d)
	}
	return all
}
