package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// A readiness is a file that says so while it exists. Without a file, it is
// always ready.
type readiness string

func parseReadiness(args []string) (readiness, error) {
	if len(args) == 0 {
		return "", nil
	}
	if len(args) == 2 && args[0] == "--ready-file" {
		return readiness(args[1]), nil
	}
	return "", fmt.Errorf("want --ready-file FILE, have %q", args)
}

func (r readiness) ok() bool {
	if r == "" {
		return true
	}
	_, err := os.Stat(string(r))
	return !errors.Is(err, fs.ErrNotExist)
}

func serveHTTP(ctx context.Context, args []string, std stdio) error {
	ready, err := parseReadiness(args[1:])
	if err != nil {
		return err
	}
	l, err := listen(ctx, args[0], std)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler(ready), ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func handler(ready readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.ok() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		say(w, "ok")
	})
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		name, err := os.Hostname()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		say(w, name)
	})
	mux.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		say(w, strings.Join(os.Environ(), "\n"))
	})
	var scrapes atomic.Int64
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		say(w, fmt.Sprintf("# TYPE testbox_scrapes_total counter\ntestbox_scrapes_total %d\n", scrapes.Add(1)))
	})
	return mux
}

// say answers. A client that has gone does not concern the server.
func say(w io.Writer, text string) { _, _ = fmt.Fprintln(w, text) }

func serveTCP(ctx context.Context, args []string, std stdio) error {
	l, err := listen(ctx, args[0], std)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go echo(conn)
	}
}

func echo(conn net.Conn) {
	defer conn.Close()         //nolint:errcheck // the client sees the end either way
	_, _ = io.Copy(conn, conn) // a client that has gone does not concern the server
}

// serveGRPC serves the health protocol.
func serveGRPC(ctx context.Context, args []string, std stdio) error {
	ready, err := parseReadiness(args[1:])
	if err != nil {
		return err
	}
	l, err := listen(ctx, args[0], std)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, grpcHealth{health.NewServer(), ready})
	context.AfterFunc(ctx, server.Stop)
	return server.Serve(l)
}

// A grpcHealth answers by a readiness, whatever service it is asked about.
type grpcHealth struct {
	*health.Server
	ready readiness
}

// Check answers a probe.
func (h grpcHealth) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	status := grpc_health_v1.HealthCheckResponse_SERVING
	if !h.ready.ok() {
		status = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	}
	return &grpc_health_v1.HealthCheckResponse{Status: status}, nil
}

// listen listens on ADDRESS:PORT, :PORT or PORT, and says where.
func listen(ctx context.Context, address string, std stdio) (net.Listener, error) {
	if !strings.Contains(address, ":") {
		address = ":" + address
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(std.out, "listening on %s\n", l.Addr())
	return l, err
}

// clientTimeout bounds what a test's client waits for.
const clientTimeout = 10 * time.Second

func get(ctx context.Context, args []string, std stdio) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if _, err := io.Copy(std.out, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("get %s: %s", args[0], resp.Status)
	}
	return nil
}

func resolve(ctx context.Context, args []string, std stdio) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, args[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, strings.Join(addresses, "\n"))
	return err
}
