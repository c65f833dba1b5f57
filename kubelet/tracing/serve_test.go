package tracing

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A server answers by routes.
func serverOf(tracer *Tracer) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{pod}", func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic(err)
		}
	})
	mux.HandleFunc("/exec/{pod}", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
		_ = conn.Close()
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no engine", http.StatusInternalServerError)
	})
	return httptest.NewServer(tracer.Serve(mux))
}

// ask asks over a connection for a path.
func ask(t *testing.T, server *httptest.Server, path, parent string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if parent != "" {
		r.Header.Set("Traceparent", parent)
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRequests(t *testing.T) {
	tracer, collector := open(t, all())
	server := serverOf(tracer)
	for _, path := range []string{"/containerLogs/web", "/exec/web", "/stats", "/nowhere"} {
		ask(t, server, path, "")
	}
	server.Close() // once all requests are over
	tracer.Close()
	var got []string
	for _, s := range collector.Spans() {
		if !s.Server || s.Attributes["network.peer.address"] != "127.0.0.1" || s.Parent != "" {
			t.Errorf("span %+v", s)
		}
		got = append(got, fmt.Sprint(s.Name, " for ", s.Attributes["url.path"], " by ", s.Attributes["http.route"], ": ", s.Attributes["http.response.status_code"], " ", s.Failed))
	}
	slices.Sort(got) // the client may go on before the server has
	want := []string{
		"/containerLogs/{pod} for /containerLogs/web by /containerLogs/{pod}: 200 false",
		"/exec/{pod} for /exec/web by /exec/{pod}: 101 false",
		"/stats for /stats by /stats: 500 true",
		"GET for /nowhere by : 404 false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Without a rate there are only spans that belong to those of others.
func TestOthersDecide(t *testing.T) {
	tracer, collector := open(t, nil)
	server := serverOf(tracer)
	ask(t, server, "/containerLogs/a", "")
	ask(t, server, "/containerLogs/b", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00") // not sampled
	ask(t, server, "/containerLogs/c", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	server.Close()
	tracer.Close()
	spans := collector.Spans()
	if len(spans) != 1 || spans[0].Trace != "0af7651916cd43dd8448eb211c80319c" || spans[0].Parent != "b7ad6b7169203331" || spans[0].Attributes["url.path"] != "/containerLogs/c" {
		t.Errorf("spans %+v", spans)
	}
}
