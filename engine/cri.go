package engine

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	boot "boot.internal/backoff"
)

// dial prepares a connection to a CRI socket; nothing is sent before the first
// call. The short back-off is for the time in which an engine starts: calls
// that wait for it go through within milliseconds of its first answer.
func dial(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", socket, err)
	}
	return conn, nil
}

// answers asks the engine behind socket for its version. With wait it keeps
// asking until ctx ends, for sockets that are yet to come.
func answers(ctx context.Context, socket string, wait bool) (*runtimev1.VersionResponse, error) {
	conn, err := dial(socket)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	client := runtimev1.NewRuntimeServiceClient(conn)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		v, err := client.Version(ctx, &runtimev1.VersionRequest{}, grpc.WaitForReady(wait))
		if err == nil {
			return v, nil
		}
		// Containerd takes connections before its CRI plugin is ready, and says so.
		starts := wait && status.Code(err) == codes.Unavailable
		if !starts || !boot.Sleep(ctx, pause) {
			return nil, fmt.Errorf("ask %s for its version: %w", socket, err)
		}
	}
}
