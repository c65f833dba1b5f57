package server

import (
	"encoding/json"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Handler returns the node's API: every request is authenticated and
// authorized first.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.healthz)
	mux.HandleFunc("GET /pods", s.pods)
	mux.HandleFunc("GET /pods/{$}", s.pods)
	mux.HandleFunc("GET /configz", s.configz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Metrics, promhttp.HandlerOpts{}))
	if d := s.o.Config.EnableDebuggingHandlers; d == nil || *d {
		mux.HandleFunc("GET /runningpods/{$}", s.runningPods)
		mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)
		if s.o.Streams != nil {
			s.handleStreams(mux)
		}
	}
	return s.guard(mux)
}

// healthHandler is what answers on the loopback: health and nothing else.
func (s *Server) healthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", s.healthz)
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
			http.Error(w, "Forbidden ("+err.Error()+")", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := s.o.Health(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write([]byte("ok"))
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	s.answerPods(w, func(*v1.Pod) bool { return true })
}

func (s *Server) runningPods(w http.ResponseWriter, _ *http.Request) {
	s.answerPods(w, func(p *v1.Pod) bool { return p.Status.Phase == v1.PodRunning })
}

func (s *Server) answerPods(w http.ResponseWriter, which func(*v1.Pod) bool) {
	list := v1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: []v1.Pod{}}
	for _, p := range s.o.Pods.Pods() {
		if which(&p) {
			list.Items = append(list.Items, p)
		}
	}
	s.answer(w, list)
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
