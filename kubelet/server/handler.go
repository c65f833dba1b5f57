package server

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Handler returns the node's API: every request is authenticated and
// authorized first.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	mux.HandleFunc("GET /pods", s.pods)
	mux.HandleFunc("GET /pods/{$}", s.pods)
	s.handleStats(mux)
	s.handlePages(mux)
	if s.debugs() {
		s.handleDebugging(mux)
	} else {
		handleNoDebugging(mux)
	}
	return s.http.count(s.guard(s.traced(mux)))
}

func (s *Server) traced(h http.Handler) http.Handler {
	if s.o.Trace == nil {
		return h
	}
	return s.o.Trace(h)
}

// debugs reports whether there is what looks into containers.
func (s *Server) debugs() bool {
	d := s.o.Config.EnableDebuggingHandlers
	return d == nil || *d
}

// handleStats adds what is measured.
func (s *Server) handleStats(mux *http.ServeMux) {
	for path, g := range map[string]prometheus.Gatherer{
		"GET /metrics": prometheus.Gatherers{s.o.Metrics, s.http.registry()}, "GET /metrics/cadvisor": s.o.Containers,
		"GET /metrics/resource": s.o.Resource, "GET /metrics/probes": s.o.Probes,
	} {
		if g != nil {
			mux.Handle(path, promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
		}
	}
	if s.o.Stats != nil {
		mux.HandleFunc("GET /stats/summary", s.summary)
	}
}

// handleDebugging adds what looks into containers and into this process.
func (s *Server) handleDebugging(mux *http.ServeMux) {
	mux.HandleFunc("GET /configz", s.configz)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
	if s.o.Streams != nil {
		s.handleStreams(mux)
	}
	if s.o.Runtime != nil {
		mux.HandleFunc("GET /runningpods/{$}", s.runningPods)
		mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
		mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
		mux.HandleFunc("POST /checkpoint/{namespace}/{pod}/{container}", s.checkpoint)
	}
	s.handleSystemLogs(mux)
	s.handleProfiling(mux)
}

// handleNoDebugging says of all that is not there why.
func handleNoDebugging(mux *http.ServeMux) {
	for _, path := range []string{
		"/run/", "/exec/", "/attach/", "/portForward/", "/containerLogs/", "/runningpods/", "/debug/pprof/", "/logs/",
	} {
		mux.Handle(path, disabled("Debug endpoints are disabled."))
	}
}

// disabled answers in the place of something that the configuration leaves out.
func disabled(why string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, why, http.StatusMethodNotAllowed) })
}

// healthHandler is what answers on the loopback: health and nothing else.
func (s *Server) healthHandler() http.Handler {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	return mux
}

// guard lets through who may.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, err := s.who.authenticate(r)
		if err != nil {
			s.o.Log.LogAttrs(r.Context(), slog.LevelDebug, "refuse request", slog.String("path", r.URL.Path), slog.Any("err", err))
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		if err := s.auth.authorize(r, user); err != nil {
			refuseAccess(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseAccess says that somebody may not ask, or that nobody can tell.
func refuseAccess(w http.ResponseWriter, err error) {
	if no, ok := errors.AsType[*forbidden](err); ok {
		http.Error(w, no.Error(), http.StatusForbidden)
		return
	}
	http.Error(w, "Authorization error ("+err.Error()+")", http.StatusInternalServerError)
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	s.answerPods(w, s.o.Pods.Pods())
}

func (s *Server) answerPods(w http.ResponseWriter, pods []v1.Pod) {
	s.answer(w, v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: pods})
}

// configz answers with the configuration as it is in force.
func (s *Server) configz(w http.ResponseWriter, _ *http.Request) {
	config := s.o.Config.DeepCopy()
	config.TypeMeta = metav1.TypeMeta{} // as upstream answers
	config.StaticPodURLHeader = nil     // may hold credentials
	s.answer(w, map[string]*kubeletv1beta1.KubeletConfiguration{"kubeletconfig": config})
}

func (s *Server) answer(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) // who asked may have gone
}
