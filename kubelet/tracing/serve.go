package tracing

import (
	"bufio"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	component "k8s.io/component-base/tracing"
)

// Serve returns a handler that has what the node is asked be spans, called as the
// route is that next finds for it. A span belongs to that of who asks, who also
// decides whether there is any: so next is to be behind all authentication.
//
// The published handler of OpenTelemetry does the same, for a megabyte more of
// program, since it hides no interface that a ResponseWriter might have.
func (t *Tracer) Serve(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	propagators := component.Propagators()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagators.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.provider.Tracer(podScope).Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(request(r)...))
		defer span.End()
		answer := &answer{ResponseWriter: w, status: http.StatusOK}
		r = r.WithContext(ctx)
		next.ServeHTTP(answer, r)
		if path := route(r); path != "" {
			span.SetName(path)
			span.SetAttributes(semconv.HTTPRoute(path))
		}
		span.SetAttributes(semconv.HTTPResponseStatusCode(answer.status))
		if answer.status >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
	})
}

// request returns what is known of a request before it is answered.
func request(r *http.Request) []attribute.KeyValue {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	about := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method), semconv.URLPath(r.URL.Path), semconv.URLScheme(scheme),
		semconv.ServerAddress("kubelet"), semconv.UserAgentOriginal(r.UserAgent()),
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		about = append(about, semconv.NetworkPeerAddress(peer.Addr().String()), semconv.NetworkPeerPort(int(peer.Port())))
	}
	return about
}

// route returns the path that a request was matched by, "" if there was none.
func route(r *http.Request) string {
	if _, path, found := strings.Cut(r.Pattern, " "); found {
		return path
	}
	return r.Pattern
}

// An answer notes its status. Whoever takes over the connection switches protocols.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader begins the answer.
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Flush sends what was written.
func (a *answer) Flush() { _ = http.NewResponseController(a.ResponseWriter).Flush() }

// Hijack hands over the connection.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.status = http.StatusSwitchingProtocols
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
