package device

import (
	"context"
	"path"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// version is that of the API of podresources.
const version = "v1"

// Requests counts what agents of the node asked, under the names of the kubelet's
// metrics.
type requests struct {
	all    *prometheus.CounterVec
	asked  map[string]*prometheus.CounterVec // by method
	failed map[string]*prometheus.CounterVec
}

func newRequests() *requests {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kubelet_pod_resources_endpoint_" + name, Help: help}, []string{"server_api_version"})
	}
	r := &requests{
		all:   counter("requests_total", "Requests of agents of the node for what containers have."),
		asked: map[string]*prometheus.CounterVec{}, failed: map[string]*prometheus.CounterVec{},
	}
	for method, name := range map[string]string{"List": "list", "Get": "get", "GetAllocatableResources": "get_allocatable"} {
		r.asked[method] = counter("requests_"+name, "Requests of agents of the node for what containers have, by "+method+".")
		r.failed[method] = counter("errors_"+name, "Requests of agents of the node for what containers have that failed, by "+method+".")
	}
	return r
}

// Metrics returns what counts the requests that Tell answers.
func (l *Lender) Metrics() []prometheus.Collector {
	all := []prometheus.Collector{l.requests.all}
	for method, c := range l.requests.asked {
		all = append(all, c, l.requests.failed[method])
	}
	return all
}

// count counts a call.
func (r *requests) count(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	method := path.Base(info.FullMethod)
	r.all.WithLabelValues(version).Inc()
	r.asked[method].WithLabelValues(version).Inc()
	if err != nil {
		r.failed[method].WithLabelValues(version).Inc()
	}
	return resp, err
}
