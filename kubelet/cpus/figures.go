package cpus

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/cpuset"
)

// Figures count what containers asked for, under upstream's names.
type figures struct{ requests, errors prometheus.Counter }

// What CPUs of a container may share.
const (
	PhysicalCPU = "physical_cpu" // their cores, with no other container
	UncoreCache = "uncore_cache" // all of them one cache
)

func newFigures() figures {
	return figures{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_cpu_manager_pinning_requests_total", Help: "The number of cpu core allocations which required pinning.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_cpu_manager_pinning_errors_total", Help: "The number of cpu core allocations which required pinning failed.",
		}),
	}
}

// Metrics returns what counts how often CPUs are given, and how many are.
func (p *Pool) Metrics() []prometheus.Collector {
	return []prometheus.Collector{p.figures.requests, p.figures.errors, sizes{p}}
}

// count notes that a container asked for CPUs, and what it got.
func (p *Pool) count(got cpuset.CPUSet, err error) {
	p.figures.requests.Inc()
	if err != nil {
		p.figures.errors.Inc()
	}
	if p.o.Policy.WholeCores {
		p.o.Aligned(PhysicalCPU, err == nil)
	}
	if err == nil && p.shape.aligned(got) {
		p.o.Aligned(UncoreCache, true)
	}
}

// Sizes collects how many CPUs are given and shared, when somebody asks.
type sizes struct{ p *Pool }

//nolint:gochecknoglobals // descriptions are constant
var (
	descShared = prometheus.NewDesc("kubelet_cpu_manager_shared_pool_size_millicores",
		"The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.", nil, nil)
	descGiven = prometheus.NewDesc("kubelet_cpu_manager_exclusive_cpu_allocation_count",
		"The total number of CPUs exclusively allocated to containers running on this node", nil, nil)
	descPerNode = prometheus.NewDesc("kubelet_cpu_manager_allocation_per_numa",
		"Number of CPUs allocated per NUMA node", []string{"numa_node"}, nil)
)

// Describe names the metrics.
func (sizes) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descShared, descGiven, descPerNode} {
		to <- d
	}
}

// Collect counts.
func (s sizes) Collect(to chan<- prometheus.Metric) {
	s.p.mu.Lock()
	shared, given := s.p.free().Size()*1000, cpuset.New()
	for _, containers := range s.p.given {
		for _, cpus := range containers {
			given = given.Union(cpus)
		}
	}
	s.p.mu.Unlock()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(descShared, shared)
	gauge(descGiven, given.Size())
	for _, id := range s.p.shape.ids(node, s.p.shape.all) {
		gauge(descPerNode, s.p.shape.in(node, given, id).Size(), strconv.Itoa(id))
	}
}
