package probe

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// checkGRPC asks the health service (grpc.health.v1) of a server about one of
// its services; nil is the server as a whole.
func checkGRPC(ctx context.Context, addr string, service *string) answer {
	// passthrough: the address is one, and no proxy or resolver is to be asked.
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUserAgent(userAgent), grpc.WithNoProxy())
	if err != nil {
		return failed(err)
	}
	defer func() { _ = conn.Close() }() // whatever it says, the answer is known
	req := &health.HealthCheckRequest{}
	if service != nil {
		req.Service = *service
	}
	resp, err := health.NewHealthClient(conn).Check(ctx, req)
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented:
		return failed(fmt.Errorf("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %w", err))
	case codes.DeadlineExceeded:
		return failed(fmt.Errorf("timeout: health rpc did not complete within the timeout: %w", err))
	case codes.Unavailable:
		return failed(fmt.Errorf("failed to connect service %q: %w", addr, err))
	default:
		return failed(fmt.Errorf("error: health rpc probe failed: %w", err))
	}
	if s := resp.GetStatus(); s != health.HealthCheckResponse_SERVING {
		return failed(fmt.Errorf("service unhealthy (responded with %q)", s))
	}
	return answer{ok: true}
}
