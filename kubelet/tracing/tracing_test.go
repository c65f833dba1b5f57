package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	tracingv1 "k8s.io/component-base/tracing/api/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/tracing/tracetest"
)

// open returns a Tracer and the collector of its spans, which has all of them once
// the Tracer is closed.
func open(t *testing.T, perMillion *int32) (*Tracer, *tracetest.Collector) {
	t.Helper()
	l := listen(t)
	collector := tracetest.Collect(t, l)
	tracer, err := New(t.Context(), &tracingv1.TracingConfiguration{Endpoint: new(l.Addr().String()), SamplingRatePerMillion: perMillion}, "n1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return tracer, collector
}

func all() *int32 { return new(int32(1_000_000)) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestSpansOfPods(t *testing.T) {
	tracer, collector := open(t, all())
	key := pod.Key{Namespace: "ns", Name: "web"}
	for _, kind := range []pod.SyncKind{pod.SyncCreate, pod.SyncTerminating, pod.SyncTerminated} {
		_, end := tracer.Sync(t.Context(), pod.Sync{Key: key, UID: "u1", Kind: kind})
		var err error
		if kind == pod.SyncTerminating {
			err = errors.New("no engine")
		}
		end(err)
	}
	tracer.Close()
	about := func(more ...string) map[string]string {
		all := map[string]string{"k8s.pod": "ns/web", "k8s.pod.name": "web", "k8s.namespace.name": "ns", "k8s.pod.uid": "u1"}
		for _, m := range more {
			all["k8s.pod.update_type"] = m
		}
		return all
	}
	want := []tracetest.Span{
		{Name: "syncPod", Attributes: about("create")},
		{Name: "syncTerminatingPod", Attributes: about(), Error: "no engine"},
		{Name: "syncTerminatedPod", Attributes: about()},
	}
	var got []tracetest.Span
	for _, s := range collector.Spans() {
		if s.Resource["service.name"] != "kubelet" || s.Resource["host.name"] != "n1" || s.Scope != "k8s.io/kubernetes/pkg/kubelet" || s.Parent != "" {
			t.Errorf("span %+v", s)
		}
		got = append(got, tracetest.Span{Name: s.Name, Attributes: s.Attributes, Error: s.Error})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An engine notes what it is told of the caller's span.
type engine struct {
	cri.UnimplementedRuntimeServiceServer
	parents []string
}

func (e *engine) Version(ctx context.Context, _ *cri.VersionRequest) (*cri.VersionResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	e.parents = append(e.parents, strings.Join(md.Get("traceparent"), " "))
	return &cri.VersionResponse{}, nil
}

// call calls the engine once.
func call(t *testing.T, ctx context.Context, e *engine, o ...grpc.DialOption) { //nolint:revive // the test comes first
	t.Helper()
	l, server := listen(t), grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, e)
	go func() { _ = server.Serve(l) }() // until it is stopped
	defer server.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), append(o, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := cri.NewRuntimeServiceClient(conn).Version(ctx, &cri.VersionRequest{}); err != nil {
		t.Fatal(err)
	}
}

func TestCallsOfTheEngine(t *testing.T) {
	tracer, collector := open(t, all())
	e := &engine{}
	ctx, end := tracer.CollectImages(t.Context())
	call(t, ctx, e, tracer.Engine()...)
	end(nil)
	tracer.Close()
	spans := collector.Spans()
	if len(spans) != 2 {
		t.Fatalf("spans %+v", spans)
	}
	inner, outer := spans[0], spans[1]
	if inner.Name != "runtime.v1.RuntimeService/Version" || inner.Server || inner.Trace != outer.Trace || inner.Parent != outer.ID {
		t.Errorf("the call is %+v", inner)
	}
	if outer.Name != "Images/GarbageCollect" || outer.Scope != "k8s.io/kubernetes/pkg/kubelet/images" {
		t.Errorf("what it belongs to is %+v", outer)
	}
	if want := "00-" + inner.Trace + "-" + inner.ID + "-01"; len(e.parents) != 1 || e.parents[0] != want {
		t.Errorf("the engine is told %q, want %s", e.parents, want)
	}
}

func TestRequestsToTheAPI(t *testing.T) {
	tracer, collector := open(t, all())
	told := ""
	api := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told = r.Header.Get("Traceparent") }))
	defer api.Close()
	client := &http.Client{Transport: tracer.API()(http.DefaultTransport)}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	tracer.Close()
	spans := collector.Spans()
	if len(spans) != 1 || spans[0].Server || told != "00-"+spans[0].Trace+"-"+spans[0].ID+"-01" {
		t.Errorf("spans %+v; the API server is told %q", spans, told)
	}
}

func TestNothingIsTraced(t *testing.T) {
	tracer, err := New(t.Context(), nil, "n1", slog.New(slog.DiscardHandler))
	if tracer != nil || err != nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	e := &engine{}
	ctx, end := tracer.Sync(t.Context(), pod.Sync{Kind: pod.SyncCreate})
	call(t, ctx, e, tracer.Engine()...)
	end(errors.New("of no interest"))
	if ctx != t.Context() || len(e.parents) != 1 || e.parents[0] != "" {
		t.Errorf("context %v, the engine is told %q", ctx, e.parents)
	}
	mux := http.NewServeMux()
	if got := tracer.Serve(mux); got != http.Handler(mux) {
		t.Errorf("server %v", got)
	}
	if tracer.API() != nil {
		t.Error("requests to the API server are wrapped")
	}
	tracer.Close()
}

// A collector that is away is said once, and holds up nothing.
func TestNoCollector(t *testing.T) {
	l := listen(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	tracer, err := New(t.Context(), &tracingv1.TracingConfiguration{Endpoint: new(l.Addr().String()), SamplingRatePerMillion: all()}, "n1", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, end := tracer.CollectContainers(t.Context())
	end(nil)
	tracer.Close()
	if !strings.Contains(log.String(), "send the last traces") && !strings.Contains(log.String(), "send traces") {
		t.Errorf("log %q", log.String())
	}
}
