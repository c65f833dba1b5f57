// Package tracing tells an OpenTelemetry collector what the node agent does and
// how long that takes (KubeletConfiguration.tracing, KEP-2832).
//
// It decides what a span is called and what it says; which work is worth one is
// up to those who do it. Names, attributes and scopes are those of upstream's
// kubelet, so that whoever looks for its spans finds these.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/component-base/logs/logreduction"
	component "k8s.io/component-base/tracing"
	tracingv1 "k8s.io/component-base/tracing/api/v1"
)

// Scopes of the spans that are the kubelet's own.
const (
	podScope       = "k8s.io/kubernetes/pkg/kubelet"
	imageScope     = "k8s.io/kubernetes/pkg/kubelet/images"
	containerScope = "k8s.io/kubernetes/pkg/kubelet/kuberuntime"
)

const (
	// sayAgain is how soon the same is said again of a collector that fails.
	sayAgain = time.Minute
	// flushTimeout is how long the end of the agent waits for its last spans to go.
	flushTimeout = 2 * time.Second
)

// A Tracer makes spans and sends them. A nil *Tracer does neither, at no cost.
type Tracer struct {
	provider component.TracerProvider
	log      *slog.Logger
}

// New returns a Tracer for a node, nil where nothing is to be traced. It does not
// wait for the collector, and need not find one.
func New(ctx context.Context, c *tracingv1.TracingConfiguration, node string, log *slog.Logger) (*Tracer, error) {
	if c == nil {
		return nil, nil
	}
	provider, err := component.NewProvider(ctx, c, nil, []resource.Option{
		resource.WithAttributes(semconv.ServiceName("kubelet"), semconv.HostName(node)),
	})
	if err != nil {
		return nil, fmt.Errorf("set up tracing: %w", err)
	}
	said := logreduction.NewLogReduction(sayAgain)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		if said.ShouldMessageBePrinted(err.Error(), "") {
			log.LogAttrs(ctx, slog.LevelWarn, "send traces", slog.Any("err", err))
		}
	}))
	return &Tracer{provider: provider, log: log}, nil
}

// Close sends what is left, if that can be done at once, and ends the connection.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "send the last traces", slog.Any("err", err))
	}
}

// CollectImages begins the span of a round of removing images. All calls in the
// context that it returns belong to it.
func (t *Tracer) CollectImages(ctx context.Context) (context.Context, func(error)) {
	return t.begin(ctx, imageScope, "Images/GarbageCollect")
}

// CollectContainers begins the span of a round of removing what pods left behind.
func (t *Tracer) CollectContainers(ctx context.Context) (context.Context, func(error)) {
	return t.begin(ctx, containerScope, "Containers/GarbageCollect")
}

// begin begins a span. What it returns ends it, with what went wrong, if anything did.
func (t *Tracer) begin(ctx context.Context, scope, name string, o ...trace.SpanStartOption) (context.Context, func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	ctx, span := t.provider.Tracer(scope).Start(ctx, name, o...)
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
