package server

import (
	"fmt"
	"io"
	"net/http"
	"net/http/pprof"
	"strconv"
	"strings"
)

// handleProfiling adds the profiles of this process, and the way to have it log
// more, if the configuration has them.
func (s *Server) handleProfiling(mux *http.ServeMux) {
	const base = "/debug/pprof/"
	if on := s.o.Config.EnableProfilingHandler; on == nil || *on {
		mux.HandleFunc("GET "+base, pprof.Index)
		mux.HandleFunc("GET "+base+"profile", pprof.Profile)
		mux.HandleFunc("GET "+base+"symbol", pprof.Symbol)
		mux.HandleFunc("GET "+base+"cmdline", pprof.Cmdline)
		mux.HandleFunc("GET "+base+"trace", pprof.Trace)
	} else {
		mux.Handle(base, disabled("profiling endpoint is disabled."))
	}
	if on := s.o.Config.EnableDebugFlagsHandler; on == nil || *on {
		mux.HandleFunc("/debug/flags/v", s.setVerbosity)
	} else {
		mux.Handle("/debug/flags/v", disabled("flags endpoint is disabled."))
	}
}

// setVerbosity has more or less logged, by the number in the body of a PUT.
func (s *Server) setVerbosity(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.Error(w, "unsupported http method", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16))
	level, perr := strconv.Atoi(strings.TrimSpace(string(body)))
	if err != nil || perr != nil {
		http.Error(w, fmt.Sprintf("failed set klog.logging.verbosity %s", body), http.StatusBadRequest)
		return
	}
	if s.o.Verbosity != nil {
		s.o.Verbosity(level)
	}
	answerText(w, fmt.Sprintf("successfully set klog.logging.verbosity to %d", level))
}
