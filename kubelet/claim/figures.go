package claim

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Figures are counted under upstream's names.
type figures struct {
	pods  *prometheus.HistogramVec
	calls *prometheus.HistogramVec
	inUse *prometheus.Desc
}

func newFigures() *figures {
	buckets := prometheus.ExponentialBucketsRange(.1, 40, 15)
	return &figures{
		pods: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dra_operations_duration_seconds", Buckets: buckets,
			Help: "Duration in seconds of preparing, or taking back, all that a pod claims. Broken down by operation and by whether it failed.",
		}, []string{"operation_name", "is_error"}),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dra_grpc_operations_duration_seconds", Buckets: buckets,
			Help: "Duration in seconds of the DRA gRPC operations",
		}, []string{"driver_name", "method_name", "grpc_status_code"}),
		inUse: prometheus.NewDesc("dra_resource_claims_in_use",
			"ResourceClaims that are prepared on the node, by driver; of all drivers together for driver_name <any>.", []string{"driver_name"}, nil),
	}
}

// did notes how preparing or taking back went for a pod.
func (f *figures) did(operation string, since time.Time, err error) {
	f.pods.WithLabelValues(operation, strconv.FormatBool(err != nil)).Observe(time.Since(since).Seconds())
}

// interceptor has the calls of a driver counted.
func (f *figures) interceptor(driver string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
		start := time.Now()
		err := invoke(ctx, method, req, reply, conn, o...)
		f.calls.WithLabelValues(driver, method, status.Code(err).String()).Observe(time.Since(start).Seconds())
		return err
	}
}

// Describe names what is counted.
func (k *Keeper) Describe(to chan<- *prometheus.Desc) {
	k.figures.pods.Describe(to)
	k.figures.calls.Describe(to)
	to <- k.figures.inUse
}

// Collect sends what was counted.
func (k *Keeper) Collect(to chan<- prometheus.Metric) {
	k.figures.pods.Collect(to)
	k.figures.calls.Collect(to)
	for driver, n := range k.inUse() {
		to <- prometheus.MustNewConstMetric(k.figures.inUse, prometheus.GaugeValue, float64(n), driver)
	}
}

// inUse counts the prepared claims, by driver and all together.
func (k *Keeper) inUse() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := map[string]int{"<any>": 0}
	for _, c := range k.claims {
		if !c.prepared {
			continue
		}
		n["<any>"]++
		for driver := range c.DriverState {
			n[driver]++
		}
	}
	return n
}
