package server

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests count what the node is asked, under upstream's names.
type requests struct {
	total    *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	took     *prometheus.HistogramVec
}

func newRequests() *requests {
	by := []string{"method", "path", "server_type", "long_running"}
	return &requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_http_requests_total", Help: "Number of the http requests received since the server started",
		}, by),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubelet_http_inflight_requests", Help: "Number of the inflight http requests",
		}, by),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_http_requests_duration_seconds", Help: "Duration in seconds to serve http requests", Buckets: prometheus.DefBuckets,
		}, by),
	}
}

// registry returns what was counted.
func (r *requests) registry() prometheus.Gatherer {
	all := prometheus.NewRegistry()
	all.MustRegister(r.total, r.inFlight, r.took)
	return all
}

func (r *requests) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		path := bucket(q.URL.Path)
		by := prometheus.Labels{
			"method": methodOf(q.Method), "path": path, "server_type": "readwrite", "long_running": strconv.FormatBool(longRunning(path)),
		}
		r.total.With(by).Inc()
		r.inFlight.With(by).Inc()
		defer r.inFlight.With(by).Dec()
		start := time.Now()
		defer func() { r.took.With(by).Observe(time.Since(start).Seconds()) }()
		next.ServeHTTP(w, q)
	})
}

// bucket returns the part of a path that is counted by: whoever asks must not
// make up labels.
func bucket(path string) string {
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch first {
	case "metrics":
		switch second, _, _ := strings.Cut(rest, "/"); second {
		case "cadvisor", "probes", "resource":
			return "metrics/" + second
		case "":
			return first
		}
		return "other"
	case "healthz", "pods", "stats", "run", "exec", "attach", "portForward", "containerLogs", "configz", "runningpods", "checkpoint", "logs", "debug":
		return first
	}
	return "other"
}

func longRunning(path string) bool {
	switch path {
	case "exec", "attach", "portForward", "debug":
		return true
	}
	return false
}

func methodOf(method string) string {
	switch method {
	case http.MethodOptions, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodTrace, http.MethodConnect:
		return method
	}
	return "other"
}
