package runtime

import (
	"context"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
)

// Calls counts the calls of the runtime, under upstream's names.
type Calls struct {
	total, failed *prometheus.CounterVec
	took          *prometheus.HistogramVec
}

// NewCalls returns Calls of which there have been none. Connections made with
// its Option are counted.
func NewCalls() *Calls {
	by := []string{"operation_type"}
	return &Calls{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_runtime_operations_total", Help: "Cumulative number of runtime operations by operation type.",
		}, by),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubelet_runtime_operations_errors_total", Help: "Cumulative number of runtime operation errors by operation type.",
		}, by),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kubelet_runtime_operations_duration_seconds", Help: "Duration in seconds of runtime operations. Broken down by operation type.",
			Buckets: prometheus.ExponentialBuckets(.005, 2.5, 14),
		}, by),
	}
}

// Describe names what is counted.
func (c *Calls) Describe(to chan<- *prometheus.Desc) {
	c.total.Describe(to)
	c.failed.Describe(to)
	c.took.Describe(to)
}

// Collect sends what was counted.
func (c *Calls) Collect(to chan<- prometheus.Metric) {
	c.total.Collect(to)
	c.failed.Collect(to)
	c.took.Collect(to)
}

// Option has the calls of a connection counted.
func (c *Calls) Option() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
		operation := operationOf(method)
		start := time.Now()
		err := invoke(ctx, method, req, reply, conn, o...)
		c.total.WithLabelValues(operation).Inc()
		c.took.WithLabelValues(operation).Observe(time.Since(start).Seconds())
		if err != nil {
			c.failed.WithLabelValues(operation).Inc()
		}
		return err
	})
}

// operationOf returns upstream's name for a method of CRI: list_podsandbox for
// /runtime.v1.RuntimeService/ListPodSandbox.
func operationOf(method string) string {
	name := strings.ReplaceAll(path.Base(method), "PodSandbox", "Podsandbox")
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
