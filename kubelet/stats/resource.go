package stats

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// A Source returns who measures, or why nobody does yet.
type Source func() (*Meter, error)

// scrapeWithin bounds what one scrape may take.
const scrapeWithin = 30 * time.Second

// Resource collects the CPU and the memory of the node, of pods and of
// containers, under the names that metrics-server reads.
func Resource(from Source) prometheus.Collector { return resource{from} }

type resource struct{ from Source }

// Describe says nothing: what there is depends on what runs.
func (resource) Describe(chan<- *prometheus.Desc) {}

//nolint:gochecknoglobals // descriptions are constant
var (
	ofContainer = []string{"container", "pod", "namespace"}
	ofPod       = []string{"pod", "namespace"}

	nodeCPU       = prometheus.NewDesc("node_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the node in core-seconds", nil, nil)
	nodeMemory    = prometheus.NewDesc("node_memory_working_set_bytes", "[STABLE] Current working set of the node in bytes", nil, nil)
	nodeSwap      = prometheus.NewDesc("node_swap_usage_bytes", "[ALPHA] Current swap usage of the node in bytes", nil, nil)
	containerCPU  = prometheus.NewDesc("container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", ofContainer, nil)
	containerMem  = prometheus.NewDesc("container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", ofContainer, nil)
	containerSwap = prometheus.NewDesc("container_swap_usage_bytes", "[ALPHA] Current amount of the container swap usage in bytes", ofContainer, nil)
	containerMost = prometheus.NewDesc("container_swap_limit_bytes", "[ALPHA] Current amount of the container swap limit in bytes", ofContainer, nil)
	containerFrom = prometheus.NewDesc("container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", ofContainer, nil)
	podCPU        = prometheus.NewDesc("pod_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", ofPod, nil)
	podMemory     = prometheus.NewDesc("pod_memory_working_set_bytes", "[STABLE] Current working set of the pod in bytes", ofPod, nil)
	podSwap       = prometheus.NewDesc("pod_swap_usage_bytes", "[ALPHA] Current amount of the pod swap usage in bytes", ofPod, nil)
	scrapeError   = prometheus.NewDesc("resource_scrape_error", "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise", nil, nil)
)

// Collect measures.
func (r resource) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	sum, err := r.measure(ctx)
	if err != nil {
		to <- prometheus.MustNewConstMetric(scrapeError, prometheus.GaugeValue, 1)
		return
	}
	to <- prometheus.MustNewConstMetric(scrapeError, prometheus.GaugeValue, 0)
	c := collector{to}
	c.cpu(nodeCPU, sum.Node.CPU)
	c.memory(nodeMemory, sum.Node.Memory)
	c.swap(nodeSwap, nil, sum.Node.Swap)
	for _, p := range sum.Pods {
		c.pod(p)
	}
}

func (r resource) measure(ctx context.Context) (*statsapi.Summary, error) {
	m, err := r.from()
	if err != nil {
		return nil, err
	}
	return m.CPUAndMemory(ctx)
}

// A collector sends what there is of some figures.
type collector struct{ to chan<- prometheus.Metric }

func (c collector) pod(p statsapi.PodStats) {
	for _, one := range p.Containers {
		labels := []string{one.Name, p.PodRef.Name, p.PodRef.Namespace}
		c.to <- prometheus.MustNewConstMetric(containerFrom, prometheus.GaugeValue, seconds(one.StartTime.UnixNano()), labels...)
		c.cpu(containerCPU, one.CPU, labels...)
		c.memory(containerMem, one.Memory, labels...)
		c.swap(containerSwap, containerMost, one.Swap, labels...)
	}
	labels := []string{p.PodRef.Name, p.PodRef.Namespace}
	c.cpu(podCPU, p.CPU, labels...)
	c.memory(podMemory, p.Memory, labels...)
	c.swap(podSwap, nil, p.Swap, labels...)
}

func (c collector) cpu(d *prometheus.Desc, s *statsapi.CPUStats, labels ...string) {
	if s != nil && s.UsageCoreNanoSeconds != nil {
		c.send(d, prometheus.CounterValue, s.Time, seconds(*s.UsageCoreNanoSeconds), labels...)
	}
}

func (c collector) memory(d *prometheus.Desc, s *statsapi.MemoryStats, labels ...string) {
	if s != nil && s.WorkingSetBytes != nil {
		c.send(d, prometheus.GaugeValue, s.Time, float64(*s.WorkingSetBytes), labels...)
	}
}

func (c collector) swap(d, limit *prometheus.Desc, s *statsapi.SwapStats, labels ...string) {
	if s == nil || s.SwapUsageBytes == nil {
		return
	}
	c.send(d, prometheus.GaugeValue, s.Time, float64(*s.SwapUsageBytes), labels...)
	if limit != nil && s.SwapAvailableBytes != nil {
		c.send(limit, prometheus.GaugeValue, s.Time, float64(*s.SwapAvailableBytes+*s.SwapUsageBytes), labels...)
	}
}

func (c collector) send(d *prometheus.Desc, kind prometheus.ValueType, at metav1.Time, value float64, labels ...string) {
	c.to <- prometheus.NewMetricWithTimestamp(at.Time, prometheus.MustNewConstMetric(d, kind, value, labels...))
}

// seconds turns nanoseconds into seconds.
func seconds[T int64 | uint64](nanoseconds T) float64 {
	return float64(nanoseconds) / float64(time.Second)
}
