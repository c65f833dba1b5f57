package csi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc/codes"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/follow"
)

// ErrLimit says that a volume cannot be attached since the node has as many as it
// takes, which the scheduler did not know. It knows now: the pod has to go
// somewhere else (KEP-4876).
var ErrLimit = errors.New("volume attachment limit exceeded")

// FollowLimits keeps in the API how many volumes drivers take, as often as their
// CSIDrivers ask for, until ctx ends. Nothing is followed before the first driver
// registers.
func (d *Drivers) FollowLimits(ctx context.Context) {
	select {
	case <-d.schedule.begun:
	case <-ctx.Done():
		return
	}
	api, err := d.api()
	if err != nil {
		return // there is one once a driver has registered
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.schedule.run(ctx)
	}()
	follow.Run(ctx, api.StorageV1().CSIDrivers(), &storagev1.CSIDriver{}, d.schedule, follow.Options{Name: "csidrivers"})
	<-done
}

// renew asks a driver how many volumes it takes, and says so in the CSINode.
func (d *Drivers) renew(ctx context.Context, name string) {
	if err := d.tryRenew(ctx, name); err != nil && ctx.Err() == nil {
		d.o.Log.LogAttrs(ctx, slog.LevelWarn, "find out how many volumes a driver takes", slog.String("driver", name), slog.Any("err", err))
	}
}

func (d *Drivers) tryRenew(ctx context.Context, name string) error {
	known, err := d.known(name)
	if err != nil {
		return err
	}
	info, err := nodeInfo(ctx, known.endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	return d.enter(ctx, name, info)
}

// unattached returns why a volume was not attached in time: [ErrLimit] where the
// attacher says that there is no room on this node for another one, and the driver
// is of those who say so as it changes.
func (d *Drivers) unattached(ctx context.Context, v *volume, err error) error {
	if ctx.Err() != nil || period(v.driver) == 0 {
		return err
	}
	full, why := d.full(ctx, v)
	if why != nil {
		d.o.Log.LogAttrs(ctx, slog.LevelWarn, "find out why a volume is not attached", slog.String("driver", v.DriverName), slog.Any("err", why))
	}
	if !full {
		return err
	}
	d.renew(ctx, v.DriverName)
	return fmt.Errorf("%w: %w", ErrLimit, err)
}

// full reports whether the attacher found no room for a volume on this node.
func (d *Drivers) full(ctx context.Context, v *volume) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	api, err := d.api()
	if err != nil {
		return false, err
	}
	a, err := api.StorageV1().VolumeAttachments().Get(ctx, v.AttachmentID, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	failed := a.Status.AttachError
	return failed != nil && ptr.Deref(failed.ErrorCode, 0) == int32(codes.ResourceExhausted), nil
}
