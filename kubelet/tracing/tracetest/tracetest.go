// Package tracetest gives tests a collector of OpenTelemetry spans, which takes
// them over gRPC as any other does.
package tracetest

import (
	"context"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// A Span is what a collector has of a span that has ended.
type Span struct {
	Name, Scope       string
	Server            bool   // it is of who was asked, not of who asked
	Trace, ID, Parent string // hexadecimal; a span without a parent is a root
	Failed            bool
	Error             string // as it was said, if it was
	// Resource and Attributes are those that are texts or numbers.
	Resource, Attributes map[string]string
}

// A Collector takes spans.
type Collector struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex // guards spans
	spans []Span
}

// Collect takes the spans that are sent to a listener until the test ends.
func Collect(t testing.TB, l net.Listener) *Collector {
	c := &Collector{}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, c)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Errorf("collect spans: %v", err)
		}
	})
	return c
}

// Export implements the service of OTLP.
func (c *Collector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.ResourceSpans {
		resource := texts(of.Resource.GetAttributes())
		for _, by := range of.ScopeSpans {
			for _, s := range by.Spans {
				c.spans = append(c.spans, spanOf(s, by.Scope.GetName(), resource))
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func spanOf(s *tracev1.Span, scope string, resource map[string]string) Span {
	span := Span{
		Name: s.Name, Scope: scope, Server: s.Kind == tracev1.Span_SPAN_KIND_SERVER,
		Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
		Resource: resource, Attributes: texts(s.Attributes),
	}
	if s.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR {
		span.Failed, span.Error = true, s.Status.Message
	}
	return span
}

func texts(attributes []*common.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.Value.GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.Key] = strconv.FormatInt(v.IntValue, 10)
		}
	}
	return all
}

// Spans returns what has come so far, each after those that ended before it.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Named returns those of a name.
func (c *Collector) Named(name string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Name != name })
}
