package kubelet

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// Metrics are the loop's own, named as the kubelet's (SP-60).
type metrics struct {
	restarted *prometheus.CounterVec
	started   prometheus.Histogram
	identity  *identityMetrics
	evictions *prometheus.CounterVec
	collected *prometheus.CounterVec // images
	figures   *figures
	calls     *runtime.Calls
	renewals  *prometheus.CounterVec
	shutdown  shutdownMetrics
	snapshots snapshotMetrics
	kept      keptMetrics
	places    placeMetrics
}

func newMetrics() *metrics {
	return &metrics{
		identity: newIdentityMetrics(), figures: newFigures(), calls: runtime.NewCalls(), renewals: newRenewals(),
		restarted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_restarted_pods_total", Help: "Pods that were restarted because the same UID was wanted again while it ended.",
		}, []string{"static"}),
		started: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "kubelet_pod_start_total_duration_seconds", Help: "Seconds from when a pod was first seen until all of its containers ran.",
			Buckets: []float64{0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600},
		}),
		shutdown: newShutdownMetrics(), snapshots: newSnapshotMetrics(), kept: newKeptMetrics(), places: newPlaceMetrics(),
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_evictions", Help: "Pods that were evicted, by what was short.",
		}, []string{"eviction_signal"}),
		collected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_image_garbage_collected_total", Help: "Images that were removed because nobody used them, by why.",
		}, []string{"reason"}),
	}
}

// registry returns all there is to gather.
func (m *metrics) registry(k *kubelet) prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.restarted, m.started, m.evictions, m.collected, m.shutdown.start, m.shutdown.end, m.calls, counts{k}, census{k}, claims{k}, serverFigures{k.balancer},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "kubelet_mirror_pods", Help: "Mirror pods the API has of this node.",
		}, func() float64 { return float64(k.mirrors.Len()) }),
	)
	r.MustRegister(m.figures.all()...)
	r.MustRegister(m.snapshots.all()...)
	r.MustRegister(m.places.all()...)
	r.MustRegister(k.places.figures()...)
	r.MustRegister(k.podsAPI.Metrics()...)
	r.MustRegister(k.devices.Metrics()...)
	if !k.facts.Keep.Off {
		r.MustRegister(m.kept.guaranteed, m.kept.burstable)
	}
	m.identity.register(r, k)
	k.registerRenewals(r)
	r.MustRegister(k.claims)
	return r
}

// said notes what a new status of a pod tells: how long the pod took to run.
func (m *metrics) said(before, now v1.PodStatus) {
	if took, running := startedAfter(now); running {
		if _, ran := startedAfter(before); !ran {
			m.started.Observe(took.Seconds())
		}
	}
}

// podRestarted notes that a pod is wanted again while it ends.
func (m *metrics) podRestarted(p *v1.Pod) {
	m.restarted.WithLabelValues(staticLabel(pod.IsStatic(p))).Inc()
}

// staticLabel spells the label as upstream does.
func staticLabel(static bool) string {
	if static {
		return "true"
	}
	return ""
}

// startedAfter returns how long it took until all containers ran, if they do.
func startedAfter(s v1.PodStatus) (took time.Duration, running bool) {
	if s.StartTime == nil {
		return 0, false
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Running == nil || c.RestartCount > 0 {
			return 0, false
		}
		took = max(took, c.State.Running.StartedAt.Sub(s.StartTime.Time))
	}
	return took, len(s.ContainerStatuses) > 0
}

// counts are the numbers of pods, counted when somebody asks.
type counts struct{ k *kubelet }

//nolint:gochecknoglobals // descriptions are constant
var (
	descDesired = prometheus.NewDesc("kubelet_desired_pods", "Pods the node is to run.", []string{"static"}, nil)
	descActive  = prometheus.NewDesc("kubelet_active_pods", "Pods that are counted on admission.", []string{"static"}, nil)
	descWorking = prometheus.NewDesc("kubelet_working_pods", "Pods that have a worker.", []string{"lifecycle", "config", "static"}, nil)
)

// Describe names the metrics.
func (c counts) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDesired, descActive, descWorking} {
		to <- d
	}
}

// Collect counts.
func (c counts) Collect(to chan<- prometheus.Metric) {
	c.k.mu.Lock()
	desired, rejected, going := c.k.now, c.k.rejected, c.k.going
	c.k.mu.Unlock()
	for _, static := range []bool{false, true} {
		label := staticLabel(static)
		active := count(desired, static) - count(rejected, static)
		to <- gauge(descDesired, count(desired, static), label)
		to <- gauge(descActive, active, label)
		to <- gauge(descWorking, active, "sync", "desired", label)
		to <- gauge(descWorking, count(going, static), "terminating", "orphan", label)
	}
}

func gauge(d *prometheus.Desc, n int, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
}

func count(pods []*v1.Pod, static bool) int {
	n := 0
	for _, p := range pods {
		if pod.IsStatic(p) == static {
			n++
		}
	}
	return n
}
