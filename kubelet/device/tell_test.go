package device_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	told "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// ask returns a client of what a Lender tells of pods.
func (b *bench) ask(pods ...*v1.Pod) told.PodResourcesListerClient {
	b.t.Helper()
	dir := b.t.TempDir()
	ctx, cancel := context.WithCancel(b.t.Context())
	var life sync.WaitGroup
	life.Go(func() {
		if err := b.Tell(ctx, dir, func() []*v1.Pod { return pods }); err != nil {
			b.t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, "kubelet.sock"),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		life.Wait()
	})
	return told.NewPodResourcesListerClient(conn)
}

func TestAgentsAreToldWhoHasWhat(t *testing.T) { // KEP-606
	b := newBench(t, t.TempDir())
	v := b.register()
	v.devices <- []*api.Device{
		{ID: "a", Health: api.Healthy, Topology: &api.TopologyInfo{Nodes: []*api.NUMANode{{ID: 1}}}},
		{ID: "b", Health: api.Healthy},
		{ID: "c", Health: api.Unhealthy},
	}
	b.await()
	p := asking("1", "2")
	p.Namespace, p.Name = "ns", "p"
	p.Spec.InitContainers = []v1.Container{{Name: "i"}}
	b.allocate(p)
	client := b.ask(p, &v1.Pod{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	devices := []*told.ContainerDevices{
		{ResourceName: gpu, DeviceIds: []string{"b"}},
		{ResourceName: gpu, DeviceIds: []string{"a"}, Topology: &told.TopologyInfo{Nodes: []*told.NUMANode{{ID: 1}}}},
	}
	want := &told.PodResources{Name: "p", Namespace: "ns", Containers: []*told.ContainerResources{{Name: "c0", Devices: devices}}}
	got, err := client.Get(ctx, &told.GetPodResourcesRequest{PodName: "p", PodNamespace: "ns"})
	if err != nil || got.PodResources.String() != want.String() {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if all, err := client.List(ctx, &told.ListPodResourcesRequest{}); err != nil || len(all.PodResources) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	all, err := client.GetAllocatableResources(ctx, &told.AllocatableResourcesRequest{})
	if err != nil || (&told.AllocatableResourcesResponse{Devices: devices}).String() != all.String() {
		t.Errorf("%v, %v", all, err)
	}
	if _, err := client.Get(ctx, &told.GetPodResourcesRequest{PodName: "q", PodNamespace: "ns"}); status.Code(err) != codes.NotFound {
		t.Error(err)
	}
	for name, want := range map[string]float64{
		"requests_total": 4, "requests_list": 1, "requests_get": 2, "requests_get_allocatable": 1, "errors_get": 1,
	} {
		if got := b.counted(name); got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
}

// counted returns how often agents asked, by the rest of the metric's name.
func (b *bench) counted(name string) float64 {
	b.t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(b.Metrics()...)
	all, err := r.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == "kubelet_pod_resources_endpoint_"+name {
			return f.Metric[0].GetCounter().GetValue()
		}
	}
	return 0
}
