package numamem

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/numa"
)

func TestEquipAndTell(t *testing.T) {
	s := newScene(t, "8 8+2")
	p := newPod("a", "i=8 c=9+1")
	for _, c := range []string{"i", "c"} {
		if err := s.bank.Allocate(p, c, numa.Hint{}); err != nil {
			t.Fatal(err)
		}
	}
	config := &cri.ContainerConfig{Linux: &cri.LinuxContainerConfig{Resources: &cri.LinuxContainerResources{}}}
	s.bank.Equip(p, "debugger", config)
	if s.has("a", "i") == "" || config.Linux.Resources.CpusetMems != "" {
		t.Error("who only looks takes from others, or is bound")
	}
	s.bank.Equip(p, "c", config)
	if got := config.Linux.Resources.CpusetMems; got != "0,1" {
		t.Errorf("bound to %q", got)
	}
	if s.has("a", "i") != "" {
		t.Error("the init container has memory when the next one starts")
	}
	var got []string
	for _, m := range slices.Concat(s.bank.Memory("a", "c"), s.bank.Memory("a", "i"), s.bank.Allocatable()) {
		var nodes []int64
		for _, n := range m.Topology.Nodes {
			nodes = append(nodes, n.ID)
		}
		got = append(got, fmt.Sprint(m.MemoryType, " ", m.Size>>30, " ", nodes))
	}
	if diff := cmp.Diff([]string{
		"hugepages-1Gi 1 [0 1]", "memory 9 [0 1]",
		"memory 7 [0]", "hugepages-1Gi 2 [1]", "memory 5 [1]",
	}, got); diff != "" {
		t.Error(diff)
	}
	if n := count(t, s.bank.count.requests); n != 2 {
		t.Errorf("%v requests", n)
	}
}

func count(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.Counter.GetValue()
}
