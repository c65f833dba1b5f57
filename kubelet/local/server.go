package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"boot.internal/kubelet/news"
)

// The paths of the socket's API.
const (
	statePath = "/v1/state" // the State, once
	watchPath = "/v1/watch" // a line of JSON now, and whenever there may be another State
)

// Of states that follow each other closely, watchers get the last; and one now
// and then even if nothing was heard, as some of what is told has no event.
const (
	watchPause    = 200 * time.Millisecond
	watchInterval = 2 * time.Second
)

// A Server answers on the socket.
type Server struct {
	look func() State
	log  *slog.Logger
	news news.News
}

// NewServer returns a server of what look returns, which is called by several
// goroutines and only when somebody asks.
func NewServer(look func() State, log *slog.Logger) *Server {
	return &Server{look: look, log: log}
}

// Changed says that there may be another State. It never blocks, and costs next
// to nothing while nobody watches.
func (s *Server) Changed() { s.news.Tell() }

// Run answers at the path until ctx ends. There is but one loop on a host, so a
// socket that is there already is of one that has ended.
func (s *Server) Run(ctx context.Context, path string) error {
	l, err := listen(ctx, path)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+statePath, s.serveState)
	mux.HandleFunc("GET "+watchPath, s.serveWatch)
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: time.Second, IdleTimeout: 5 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", path, err)
	}
	return nil
}

// listen makes a socket that is nobody's but root's from its first moment on: it
// gets its name last.
func listen(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make directory of the loop's socket: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("listen for commands: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(fresh, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for commands: %w", err), l.Close())
	}
	return l, nil
}

func (s *Server) serveState(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.look()) // whoever asked may be gone
}

// serveWatch tells of each State until the one who asked is gone.
func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request) {
	changed, stop := s.news.Listen()
	defer stop()
	flush := http.NewResponseController(w)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	for r.Context().Err() == nil {
		if json.NewEncoder(w).Encode(s.look()) != nil || flush.Flush() != nil {
			return
		}
		pause := time.NewTimer(watchPause)
		select {
		case <-pause.C:
		case <-r.Context().Done():
			pause.Stop()
			return
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-r.Context().Done():
		}
	}
}
