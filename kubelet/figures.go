package kubelet

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Figures are counted while pods are run, under the kubelet's names, which
// alerts and dashboards look for.
type figures struct {
	worked          *prometheus.HistogramVec
	relisted        prometheus.Histogram
	relistedAt      prometheus.Gauge
	sandboxes       *prometheus.HistogramVec
	sandboxesFailed *prometheus.CounterVec
	pods            prometheus.Counter
	podsFailed      prometheus.Counter
	containers      *prometheus.CounterVec
	containersNot   *prometheus.CounterVec
}

func newFigures() *figures {
	counter := func(name, help string) prometheus.CounterOpts { return prometheus.CounterOpts{Name: name, Help: help} }
	histogram := func(name, help string) prometheus.HistogramOpts {
		return prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.DefBuckets}
	}
	return &figures{
		worked: prometheus.NewHistogramVec(histogram("kubelet_pod_worker_duration_seconds",
			"Duration in seconds of one action on a pod. Broken down by operation type: create, sync or terminate"), []string{"operation_type"}),
		relisted: prometheus.NewHistogram(histogram("kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods.")),
		relistedAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "kubelet_pleg_last_seen_seconds", Help: "Timestamp in seconds when pods were last listed.",
		}),
		sandboxes: prometheus.NewHistogramVec(histogram("kubelet_run_podsandbox_duration_seconds",
			"Duration in seconds of making a sandbox, with all that it takes."), []string{"runtime_handler"}),
		sandboxesFailed: prometheus.NewCounterVec(counter("kubelet_run_podsandbox_errors_total",
			"Cumulative number of sandboxes that could not be made."), []string{"runtime_handler"}),
		pods:       prometheus.NewCounter(counter("kubelet_started_pods_total", "Cumulative number of pods started")),
		podsFailed: prometheus.NewCounter(counter("kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods")),
		containers: prometheus.NewCounterVec(counter("kubelet_started_containers_total",
			"Cumulative number of containers started"), []string{"container_type"}),
		containersNot: prometheus.NewCounterVec(counter("kubelet_started_containers_errors_total",
			"Cumulative number of errors when starting containers"), []string{"container_type", "code"}),
	}
}

func (f *figures) all() []prometheus.Collector {
	return []prometheus.Collector{
		f.worked, f.relisted, f.relistedAt, f.sandboxes, f.sandboxesFailed, f.pods, f.podsFailed, f.containers, f.containersNot,
	}
}

// listed notes that all that runs was listed.
func (f *figures) listed(took time.Duration, at time.Time) {
	f.relisted.Observe(took.Seconds())
	f.relistedAt.Set(float64(at.Unix()))
}

// did notes what came of an action on a pod.
func (f *figures) did(done attempt) {
	took := time.Since(done.since)
	switch a := done.action.(type) {
	case pod.CreateSandbox:
		f.worked.WithLabelValues("create").Observe(took.Seconds())
		f.sandboxes.WithLabelValues(done.handler).Observe(took.Seconds())
		if done.err != nil {
			f.sandboxesFailed.WithLabelValues(done.handler).Inc()
			f.podsFailed.Inc()
			return
		}
		f.pods.Inc()
	case pod.StartContainer:
		f.worked.WithLabelValues("sync").Observe(took.Seconds())
		if done.err != nil {
			f.containersNot.WithLabelValues(done.kind(a.Name), reasonOf(done.err)).Inc()
			return
		}
		f.containers.WithLabelValues(done.kind(a.Name)).Inc()
	case pod.KillContainer, pod.StopSandbox:
		f.worked.WithLabelValues("terminate").Observe(took.Seconds())
	default:
		f.worked.WithLabelValues("sync").Observe(took.Seconds())
	}
}

// states are those of containers, as upstream counts them.
func states() map[cri.ContainerState]string {
	return map[cri.ContainerState]string{
		cri.ContainerState_CONTAINER_CREATED: "created", cri.ContainerState_CONTAINER_RUNNING: "running",
		cri.ContainerState_CONTAINER_EXITED: "exited", cri.ContainerState_CONTAINER_UNKNOWN: "unknown",
	}
}

// A census counts what runs and what claims hold, when somebody asks.
type census struct{ k *kubelet }

//nolint:gochecknoglobals // descriptions are constant
var (
	descRunning    = prometheus.NewDesc("kubelet_running_pods", "Number of pods that have a running pod sandbox", nil, nil)
	descContainers = prometheus.NewDesc("kubelet_running_containers", "Number of containers by state", []string{"container_state"}, nil)
	descNodeName   = prometheus.NewDesc("kubelet_node_name", "The node's name. The count is always 1.", []string{"node"}, nil)
)

// censusWithin bounds what counting may take.
const censusWithin = 10 * time.Second

// Describe names the metrics.
func (census) Describe(to chan<- *prometheus.Desc) {
	to <- descRunning
	to <- descContainers
	to <- descNodeName
}

// Collect counts.
func (c census) Collect(to chan<- prometheus.Metric) {
	to <- gauge(descNodeName, 1, c.k.o.Node)
	if c.k.engine.Load() == nil {
		return // there is nobody to ask
	}
	ctx, cancel := context.WithTimeout(context.Background(), censusWithin)
	defer cancel()
	sandboxes, err := c.k.conn.Runtime.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		State: &cri.PodSandboxStateValue{State: cri.PodSandboxState_SANDBOX_READY},
	}})
	if err != nil {
		return // there is no number to tell
	}
	to <- gauge(descRunning, len(sandboxes.Items))
	containers, err := c.k.conn.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return
	}
	in := map[cri.ContainerState]int{}
	for _, one := range containers.Containers {
		in[one.State]++
	}
	for state, n := range in {
		to <- gauge(descContainers, n, states()[state])
	}
}
