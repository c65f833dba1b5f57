package kubelet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"boot.internal/kubelet/cpus"
	"boot.internal/kubelet/numa"
)

// placeMetrics tell how pods get what lies near to each other (KEP-693).
type placeMetrics struct {
	requests, errors prometheus.Counter
	took             prometheus.Histogram
	// aligned and apart count containers, or pods, by the labels scope (container,
	// pod) and boundary (numa_node, physical_cpu, uncore_cache).
	aligned, apart *prometheus.CounterVec
}

func newPlaceMetrics() placeMetrics {
	by := []string{"scope", "boundary"}
	return placeMetrics{
		requests: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_topology_manager_admission_requests_total", Help: "Times that a pod was given devices, CPUs and memory before it was made.",
		}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kubelet_topology_manager_admission_errors_total", Help: "Times that it was not, under a topology manager policy.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_topology_manager_admission_duration_ms", Help: "Milliseconds that took.",
			Buckets: prometheus.ExponentialBuckets(.05, 2, 15),
		}),
		aligned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_container_aligned_compute_resources_count", Help: "Containers, or pods, that have what does not cross a boundary.",
		}, by),
		apart: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_container_aligned_compute_resources_failure_count", Help: "Containers, or pods, that were refused, or have what crosses a boundary.",
		}, by),
	}
}

func (m placeMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.errors, m.took, m.aligned, m.apart}
}

// admitted notes that a pod was given what it asks for, or not.
func (m placeMetrics) admitted(took time.Duration) {
	m.requests.Inc()
	m.took.Observe(float64(took.Milliseconds()))
}

// alignment returns what counts by whether things lie on one NUMA node. All numbers
// are there from the start.
func (m placeMetrics) alignment(of numa.Scope) func(is bool) {
	const node = "numa_node"
	for _, s := range []numa.Scope{numa.PerContainer, numa.PerPod} {
		m.aligned.WithLabelValues(string(s), node)
		m.apart.WithLabelValues(string(s), node)
	}
	return func(is bool) {
		to := m.apart
		if is {
			to = m.aligned
		}
		to.WithLabelValues(string(of), node).Inc()
	}
}

// ofCPUs returns what counts by what the CPUs of containers share. All numbers are
// there from the start.
func (m placeMetrics) ofCPUs() func(boundary string, ok bool) {
	const container = string(numa.PerContainer)
	m.aligned.WithLabelValues(container, cpus.PhysicalCPU)
	m.aligned.WithLabelValues(container, cpus.UncoreCache)
	m.apart.WithLabelValues(container, cpus.PhysicalCPU)
	return func(boundary string, ok bool) {
		to := m.apart
		if ok {
			to = m.aligned
		}
		to.WithLabelValues(container, boundary).Inc()
	}
}
