package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"boot.internal/kubelet/pod"
)

// Sync begins the span of a go at a pod. All calls in the context that it returns
// belong to it.
func (t *Tracer) Sync(ctx context.Context, s pod.Sync) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	about := []attribute.KeyValue{
		semconv.K8SPodUID(string(s.UID)), attribute.String("k8s.pod", s.Key.String()),
		semconv.K8SPodName(s.Key.Name), semconv.K8SNamespaceName(s.Key.Namespace),
	}
	name := "syncPod"
	switch s.Kind {
	case pod.SyncTerminating:
		name = "syncTerminatingPod"
	case pod.SyncTerminated:
		name = "syncTerminatedPod"
	default:
		about = append(about, attribute.String("k8s.pod.update_type", string(s.Kind)))
	}
	return t.begin(ctx, podScope, name, trace.WithAttributes(about...))
}
