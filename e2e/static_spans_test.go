package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/e2e/internal/lab"
	"boot.internal/kubelet/tracing/tracetest"
)

// spansDropIn has all that the loop does traced, by a collector where one is looked
// for unless something else is said.
const spansDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
tracing: {samplingRatePerMillion: 1000000}
`

// TestSpans has a collector on the node hear of the life of a pod.
func TestSpans(t *testing.T) {
	s := newStandalone(t)
	s.kill(t)
	l, err := s.node.Listen("tcp", "127.0.0.1:4317")
	if err != nil {
		t.Fatal(err)
	}
	spans := spans{tracetest.Collect(t, l)}
	t.Cleanup(func() { s.kill(t) }) // before nobody listens to it any more
	s.node.WriteFile(t, dropIns+"/20-spans.conf", spansDropIn)
	s.start(t)

	p := s.run(t, hostPod("traced", box("c", "sleep", "infinity")))
	spans.await(t, "syncPod", "RunPodSandbox", p, "create")
	spans.await(t, "syncPod", "StartContainer", p, "sync")
	s.node.Remove(t, manifestPath("traced"))
	s.gone(t, "traced")
	spans.await(t, "syncTerminatingPod", "StopContainer", p, "")
	spans.has(t, "syncTerminatedPod", func(is tracetest.Span) bool { return ofPod(is, p, "") })
	spans.has(t, "Containers/GarbageCollect", func(tracetest.Span) bool { return true })
	spans.has(t, "/pods", func(is tracetest.Span) bool { return is.Server && is.Attributes["http.route"] == "/pods" })
	for _, is := range spans.Spans() {
		if is.Resource["service.name"] != "kubelet" || is.Resource["host.name"] != s.node.Name {
			t.Errorf("span %s is of %v", is.Name, is.Resource)
		}
	}
}

// spans are those that a loop has sent.
type spans struct{ *tracetest.Collector }

// await waits for the span of a call of the engine that belongs to one of a pod.
func (s spans) await(t *testing.T, name, call string, p *corev1.Pod, update string) {
	t.Helper()
	calls := func() []tracetest.Span { return s.Named("runtime.v1.RuntimeService/" + call) }
	s.has(t, name, func(is tracetest.Span) bool {
		for _, c := range calls() {
			if c.Trace == is.Trace && c.Parent == is.ID && !c.Server {
				return ofPod(is, p, update)
			}
		}
		return false
	})
}

// has waits for a span.
func (s spans) has(t *testing.T, name string, check func(tracetest.Span) bool) {
	t.Helper()
	lab.Until(t, patience, "be told of "+name, func(context.Context) error {
		all := s.Named(name)
		if slices.ContainsFunc(all, check) {
			return nil
		}
		return fmt.Errorf("of that name there are %+v", all)
	})
}

// ofPod reports whether a span is about a pod.
func ofPod(is tracetest.Span, p *corev1.Pod, update string) bool {
	about := is.Attributes
	return about["k8s.pod.name"] == p.Name && about["k8s.namespace.name"] == p.Namespace && about["k8s.pod"] == p.Namespace+"/"+p.Name &&
		about["k8s.pod.uid"] == string(p.UID) && about["k8s.pod.update_type"] == update
}
