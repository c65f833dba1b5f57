package podsapi

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Requests counts what was asked, under the names of the kubelet's metrics.
type requests struct {
	all      *prometheus.CounterVec
	byMethod map[string]*prometheus.CounterVec
}

func newRequests() *requests {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"server_api_version", "status_code"})
	}
	return &requests{
		all: counter("kubelet_pod_requests_total", "Requests for pods by programs of the node."),
		byMethod: map[string]*prometheus.CounterVec{
			"ListPods":  counter("kubelet_pod_requests_list_total", "Requests for all pods by programs of the node."),
			"GetPod":    counter("kubelet_pod_requests_get_total", "Requests for one pod by programs of the node."),
			"WatchPods": counter("kubelet_pod_requests_watch_total", "Watches of pods by programs of the node that have ended."),
		},
	}
}

// Metrics returns what counts the requests.
func (s *Server) Metrics() []prometheus.Collector {
	all := []prometheus.Collector{s.requests.all}
	for _, c := range s.requests.byMethod {
		all = append(all, c)
	}
	return all
}

// note counts a call, as "/v1alpha1.Pods/ListPods".
func (r *requests) note(method string, err error) {
	version, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), ".")
	code := status.Code(err)
	if errors.Is(err, context.Canceled) {
		code = codes.Canceled
	}
	r.all.WithLabelValues(version, code.String()).Inc()
	if c := r.byMethod[path.Base(method)]; c != nil {
		c.WithLabelValues(version, code.String()).Inc()
	}
}

func (r *requests) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	resp, err := next(ctx, req)
	r.note(info.FullMethod, err)
	return resp, err
}

func (r *requests) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := next(srv, stream)
	r.note(info.FullMethod, err)
	return err
}
