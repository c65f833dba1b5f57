package kubelet

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/device"
	"boot.internal/kubelet/numa"
)

// placing returns a loop that is configured to place pods, or not.
func placing(t *testing.T, c *kubeletv1beta1.KubeletConfiguration) *kubelet {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	k := &kubelet{o: Options{Config: c, Logger: log}, metrics: newMetrics()}
	k.devices = device.New(device.Options{Dir: t.TempDir(), Changed: func() {}, Log: log})
	if err := k.newPlaces(); err != nil {
		t.Fatal(err)
	}
	return k
}

// A landlord has what is on one node, and nothing for a pod called greedy.
type landlord struct {
	kept, forgotten int
	tenants         []string
}

func (*landlord) Hints(p *v1.Pod, _ string) numa.Hints { return (*landlord)(nil).PodHints(p) }

func (*landlord) PodHints(p *v1.Pod) numa.Hints {
	if p.Name == "apart" {
		return numa.Hints{v1.ResourceCPU: {}}
	}
	return nil
}

func (l *landlord) Allocate(p *v1.Pod, _ string, _ numa.Hint) error {
	if p.Name == "greedy" {
		return errors.New("not enough cpus available to satisfy request")
	}
	l.tenants = append(l.tenants, p.Name)
	return nil
}

func (l *landlord) Forget(types.UID)        { l.forgotten++ }
func (l *landlord) Keep(map[types.UID]bool) { l.kept++ }

func TestNothingIsPlacedUnlessConfigured(t *testing.T) {
	for _, c := range []*kubeletv1beta1.KubeletConfiguration{{}, {TopologyManagerPolicy: "none", CPUManagerPolicy: "none", MemoryManagerPolicy: "None"}} {
		k := placing(t, c)
		if k.places != nil {
			t.Errorf("%+v: there are places", c)
		}
		if err := k.place(t.Context(), &v1.Pod{}); err != nil {
			t.Error(err)
		}
		k.places.forget("1")
		k.places.keep(nil)
	}
}

// What a pod is refused for, and what is counted.
func TestPlace(t *testing.T) {
	k := placing(t, &kubeletv1beta1.KubeletConfiguration{TopologyManagerPolicy: "single-numa-node", TopologyManagerScope: "container"})
	l := &landlord{}
	k.places.owners = append(k.places.owners, l)
	for name, want := range map[string]string{
		"modest": "",
		"apart":  "TopologyAffinityError: Resources cannot be allocated with Topology locality",
		"greedy": "UnexpectedAdmissionError: Allocate failed due to not enough cpus available to satisfy request, which is unexpected",
	} {
		p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
		p.Name = name
		got := ""
		if err := k.place(t.Context(), p); err != nil {
			reason, why := refusal(err)
			got = reason + ": " + why.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	k.places.forget("1")
	k.places.keep(nil)
	if l.forgotten != 1 || l.kept != 1 {
		t.Errorf("%+v", l)
	}
	for line, want := range map[string]float64{
		"kubelet_topology_manager_admission_requests_total":                             3,
		"kubelet_topology_manager_admission_errors_total":                               2,
		"kubelet_topology_manager_admission_duration_ms":                                3,
		"kubelet_container_aligned_compute_resources_count numa_node container":         1,
		"kubelet_container_aligned_compute_resources_count numa_node pod":               0,
		"kubelet_container_aligned_compute_resources_failure_count numa_node container": 1,
	} {
		if got := figuresOf(t, k)[line]; got != want {
			t.Errorf("%s %v, want %v", line, got, want)
		}
	}
}

// A pod that runs already is given what there is for it, and runs on without.
func TestPlaceRunning(t *testing.T) {
	k := placing(t, &kubeletv1beta1.KubeletConfiguration{})
	k.placeRunning(&v1.Pod{}) // nothing is given to anybody
	k = placing(t, &kubeletv1beta1.KubeletConfiguration{TopologyManagerPolicy: "single-numa-node", TopologyManagerScope: "container"})
	l := &landlord{}
	k.places.owners = append(k.places.owners, l)
	for _, name := range []string{"greedy", "apart", "modest"} {
		p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
		p.Name = name
		k.placeRunning(p)
	}
	if !slices.Equal(l.tenants, []string{"modest"}) {
		t.Errorf("something was given to %q", l.tenants)
	}
}

// figuresOf returns what is counted of places, by name and labels.
func figuresOf(t *testing.T, k *kubelet) map[string]float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(k.metrics.places.all()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				name = append(name, l.GetValue())
			}
			all[strings.Join(name, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}
