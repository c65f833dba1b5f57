package socket

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	asked "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func TestSocketOfBeforeIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "s.sock")
	for range 2 { // the second finds what the first left
		ctx, cancel := context.WithCancel(t.Context())
		var life sync.WaitGroup
		life.Go(func() {
			err := Serve(ctx, Options{Path: path, Register: func(r grpc.ServiceRegistrar) {
				asked.RegisterHealthServer(r, health.NewServer())
			}})
			if err != nil {
				t.Error(err)
			}
		})
		ask(t, path)
		cancel()
		life.Wait()
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func ask(t *testing.T, path string) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := asked.NewHealthClient(conn).Check(ctx, &asked.HealthCheckRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Error(err)
	}
}

func TestSocketThatCannotBeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), Options{Path: filepath.Join(file, "s.sock")}); err == nil {
		t.Error("served below a file")
	}
}

func TestTooManyCallsAreRefused(t *testing.T) {
	l := limit(rate.NewLimiter(0, 2)) // two, and then none
	next := func(context.Context, any) (any, error) { return nil, nil }
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		if _, err := l(t.Context(), nil, nil, next); status.Code(err) != want {
			t.Errorf("call %d: %v, want %v", i, err, want)
		}
	}
}
