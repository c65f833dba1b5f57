package csi

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// count returns how many volumes the API says that the driver takes.
func (w *world) count() int32 {
	w.Helper()
	return limit(w.csiNode().Spec.Drivers[0])
}

func TestRenew(t *testing.T) {
	w := newWorld(t)
	if got := w.count(); got != 5 {
		t.Fatalf("%d volumes", got)
	}
	w.driver.takes(9)
	w.api.ClearActions()
	if err := w.tryRenew(t.Context(), driverName); err != nil || w.count() != 9 {
		t.Errorf("%d volumes, %v", w.count(), err)
	}
	w.driver.takes(0)
	if err := w.tryRenew(t.Context(), driverName); err != nil || w.csiNode().Spec.Drivers[0].Allocatable != nil {
		t.Errorf("%v, %v", w.csiNode().Spec.Drivers, err)
	}
	for _, a := range w.api.Actions() { // only the number changes
		if a.GetResource().Resource == "nodes" && a.GetVerb() != "get" {
			t.Errorf("%s the Node", a.GetVerb())
		}
	}
	if err := w.tryRenew(t.Context(), "other"); err == nil {
		t.Error("no error of a driver that is not here")
	}
}

// The API says how often, and the driver is asked once it is here.
func TestFollowLimits(t *testing.T) {
	w := newWorld(t, newDriver(func(s *storagev1.CSIDriverSpec) { s.NodeAllocatableUpdatePeriodSeconds = new(int64(1)) }))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	asked := make(chan string, 1)
	w.schedule.ask = func(_ context.Context, driver string) {
		select {
		case asked <- driver:
		default:
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); w.FollowLimits(ctx) }()
	select {
	case got := <-asked:
		if got != driverName {
			t.Errorf("asked %s", got)
		}
	case <-ctx.Done():
		t.Error("the driver was not asked")
	}
	cancel()
	<-done
}

func TestUnattached(t *testing.T) {
	why := errors.New("it took too long")
	for name, tc := range map[string]struct {
		period int64
		failed *storagev1.VolumeError // nil: there is no attachment
		limit  bool
	}{
		"full":                  {10, &storagev1.VolumeError{ErrorCode: new(int32(codes.ResourceExhausted))}, true},
		"another error":         {10, &storagev1.VolumeError{ErrorCode: new(int32(codes.Internal))}, false},
		"no code":               {10, &storagev1.VolumeError{Message: "full"}, false},
		"no attachment":         {10, nil, false},
		"driver that says none": {0, &storagev1.VolumeError{ErrorCode: new(int32(codes.ResourceExhausted))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, every(driverName, tc.period))
			w.driver.takes(1)
			v := &volume{record: record{DriverName: driverName, AttachmentID: "csi-x"}, driver: every(driverName, tc.period)}
			if tc.failed != nil {
				a := &storagev1.VolumeAttachment{ObjectMeta: metav1.ObjectMeta{Name: "csi-x"}, Status: storagev1.VolumeAttachmentStatus{AttachError: tc.failed}}
				if err := w.api.Tracker().Add(a); err != nil {
					t.Fatal(err)
				}
			}
			err := w.unattached(t.Context(), v, why)
			if !errors.Is(err, why) || errors.Is(err, ErrLimit) != tc.limit {
				t.Errorf("error %v", err)
			}
			if renewed := w.count() == 1; renewed != tc.limit {
				t.Errorf("the API has %d volumes", w.count())
			}
		})
	}
}
