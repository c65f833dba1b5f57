package server

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Stats measures the node, its pods and their containers.
type Stats interface {
	// Summary returns all there is.
	Summary(ctx context.Context) (*statsapi.Summary, error)
	// CPUAndMemory returns these two alone, which costs much less.
	CPUAndMemory(ctx context.Context) (*statsapi.Summary, error)
}

// summary answers with the figures of the node and its pods.
func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	measure := s.o.Stats.Summary
	if text := r.URL.Query().Get("only_cpu_and_memory"); text != "" {
		only, err := strconv.ParseBool(text)
		if err != nil {
			http.Error(w, fmt.Sprintf("parse only_cpu_and_memory: %v", err), http.StatusBadRequest)
			return
		}
		if only {
			measure = s.o.Stats.CPUAndMemory
		}
	}
	sum, err := measure(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.answer(w, sum)
}
