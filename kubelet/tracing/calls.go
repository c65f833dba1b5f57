package tracing

import (
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"k8s.io/client-go/transport"
	component "k8s.io/component-base/tracing"
)

// Engine returns what has calls of the container engine be spans, and tells the
// engine which, so that its own spans belong to them.
func (t *Tracer) Engine() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(
		otelgrpc.WithMessageEvents(otelgrpc.ReceivedEvents, otelgrpc.SentEvents),
		otelgrpc.WithPropagators(component.Propagators()), otelgrpc.WithTracerProvider(t.provider),
	))}
}

// API returns what has calls of the API server be spans, which it is told; nil
// where there are none.
func (t *Tracer) API() transport.WrapperFunc {
	if t == nil {
		return nil
	}
	return component.WrapperFor(t.provider)
}
