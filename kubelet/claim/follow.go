package claim

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	dra "k8s.io/kubelet/pkg/apis/dra-health/v1"
	drav1alpha1 "k8s.io/kubelet/pkg/apis/dra-health/v1alpha1"
)

// healthRetry is the pause before a driver is asked again to tell of its devices; it
// is upstream's.
const healthRetry = 5 * time.Second

// followHealth has the driver tell how its devices are, until ctx ends or it says
// that it does not.
func (i *instance) followHealth(ctx context.Context) {
	for {
		err := i.hearHealth(ctx)
		if ctx.Err() != nil || status.Code(err) == codes.Unimplemented {
			return
		}
		i.k.o.Log.LogAttrs(ctx, slog.LevelDebug, "driver tells of its devices no longer", slog.String("driver", i.driver), slog.Any("err", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(healthRetry):
		}
	}
}

// hearHealth notes what the driver tells until it ends. Word that gets too old
// changes what holds as much as new word does.
func (i *instance) hearHealth(ctx context.Context) error {
	stream, err := i.openHealth(ctx)
	if err != nil {
		return err
	}
	old := time.AfterFunc(time.Hour, func() { i.k.tellHealth(ctx, i.driver) })
	defer old.Stop()
	defer func() {
		if i.k.life.Err() == nil && i.k.health.forget(i) { // what runs on needs no other word because of boot's end
			i.k.tellHealth(i.k.life, i.driver)
		}
	}()
	for {
		report, err := stream.Recv()
		if err != nil {
			return err
		}
		now := time.Now()
		changed, next := i.k.health.update(i, report.GetDevices(), now)
		if !next.IsZero() {
			old.Reset(next.Sub(now))
		}
		if changed {
			i.k.tellHealth(ctx, i.driver)
		}
	}
}

// openHealth asks the driver to tell, in the version that it speaks.
func (i *instance) openHealth(ctx context.Context) (grpc.ServerStreamingClient[dra.NodeWatchResourcesResponse], error) {
	var stream grpc.ServerStreamingClient[dra.NodeWatchResourcesResponse]
	var err error
	if i.health == drav1alpha1.DRAResourceHealthService {
		client := dra.V1Alpha1ClientWrapper{Client: drav1alpha1.NewDRAResourceHealthClient(i.conn)}
		stream, err = client.NodeWatchResources(ctx, &dra.NodeWatchResourcesRequest{})
	} else {
		stream, err = dra.NewDRAResourceHealthClient(i.conn).NodeWatchResources(ctx, &dra.NodeWatchResourcesRequest{})
	}
	if err != nil {
		return nil, fmt.Errorf("ask driver %s for the health of its devices: %w", i.driver, err)
	}
	return stream, nil
}
