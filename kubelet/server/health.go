package server

import (
	"fmt"
	"net/http"
	"strings"
)

// A check is one part of being healthy.
type check struct {
	name string
	err  func() error
}

// checks are upstream's, so that one of them can be asked for alone. That this
// process answers and logs is told by the answer.
func (s *Server) checks() []check {
	fine := func() error { return nil }
	return []check{{"ping", fine}, {"log", fine}, {"syncloop", s.o.Health}}
}

// handleHealth adds the checks, each alone and all together.
func (s *Server) handleHealth(mux *http.ServeMux) {
	all := s.checks()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { answerHealth(w, r, all) })
	for _, c := range all {
		mux.HandleFunc("/healthz/"+c.name, func(w http.ResponseWriter, _ *http.Request) {
			if err := c.err(); err != nil {
				http.Error(w, "internal server error: "+err.Error(), http.StatusInternalServerError)
				return
			}
			answerText(w, "ok")
		})
	}
}

// answerHealth says ok, or how each check went if one failed or somebody asks.
func answerHealth(w http.ResponseWriter, r *http.Request, all []check) {
	var report strings.Builder
	failed := false
	for _, c := range all {
		if err := c.err(); err != nil {
			failed = true
			fmt.Fprintf(&report, "[-]%s failed: %v\n", c.name, err)
			continue
		}
		fmt.Fprintf(&report, "[+]%s ok\n", c.name)
	}
	switch {
	case failed:
		http.Error(w, report.String()+"healthz check failed", http.StatusInternalServerError)
	case r.URL.Query().Has("verbose"):
		answerText(w, report.String()+"healthz check passed\n")
	default:
		answerText(w, "ok")
	}
}

func answerText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write([]byte(text)) // who asked may have gone
}
