package probe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A tally counts attempts by what came of them, under upstream's names, for as
// long as there is the container.
type tally struct {
	results *prometheus.CounterVec
	took    *prometheus.HistogramVec
}

func newTally() *tally {
	return &tally{
		results: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prober_probe_total", Help: "Cumulative number of a liveness, readiness or startup probe for a container by result.",
		}, []string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "prober_probe_duration_seconds", Help: "Duration in seconds for a probe response.", Buckets: prometheus.DefBuckets,
		}, []string{"probe_type", "container", "pod", "namespace"}),
	}
}

// Collectors collect how often containers were probed with what result, and how
// long they took to answer.
func (pr *Prober) Collectors() []prometheus.Collector {
	return []prometheus.Collector{pr.tally.results, pr.tally.took}
}

// Results as upstream names them.
const (
	resultOK      = "successful"
	resultFailed  = "failed"
	resultUnknown = "unknown"
)

// count notes one attempt. How long it took says something only if there was an
// answer that it took time for.
func (t *tally) count(w *watch, result string, took time.Duration) {
	c := w.c
	t.results.WithLabelValues(w.name, result, c.spec.Name, c.key.Name, c.key.Namespace, string(c.pod.UID)).Inc()
	if result != resultFailed {
		t.took.WithLabelValues(w.name, c.spec.Name, c.key.Name, c.key.Namespace).Observe(took.Seconds())
	}
}

// forget drops what was counted of a container.
func (t *tally) forget(c *container) {
	by := prometheus.Labels{"container": c.spec.Name, "pod": c.key.Name, "namespace": c.key.Namespace}
	t.took.DeletePartialMatch(by)
	by["pod_uid"] = string(c.pod.UID)
	t.results.DeletePartialMatch(by)
}
