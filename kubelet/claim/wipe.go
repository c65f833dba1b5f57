package claim

import (
	"context"
	"errors"
	"log/slog"
	"time"

	resourceapi "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
)

// The waits between two tries to remove slices are upstream's.
const (
	firstWipe   = time.Second
	lastWipe    = 5 * time.Minute
	wipeTimeout = 30 * time.Second
)

// Wipe removes the ResourceSlices of all drivers of this node. It is called once at
// the start: no driver has registered yet, and pods would be sent here that cannot
// start. A driver that comes back publishes its own again. Wipe returns once it has
// done so or ctx ends.
func (k *Keeper) Wipe(ctx context.Context) { k.wipe(ctx, "") }

// note acts on whether a driver can be reached: if not for too long, its slices
// are removed.
func (k *Keeper) note(driver string) {
	d := &k.drivers
	d.mu.Lock()
	defer d.mu.Unlock()
	cancel, pending := d.wipes[driver]
	switch usable := d.usable(driver); {
	case usable && pending:
		cancel()
		delete(d.wipes, driver)
	case !usable && !pending:
		ctx, cancel := context.WithCancel(k.life)
		if d.wipes == nil {
			d.wipes = map[string]context.CancelFunc{}
		}
		d.wipes[driver] = cancel
		go k.wipeLater(ctx, driver)
	}
}

// wipeLater removes the slices of a driver, unless ctx ends before its time is up.
func (k *Keeper) wipeLater(ctx context.Context, driver string) {
	select {
	case <-ctx.Done():
	case <-time.After(k.o.Away):
		k.wipe(ctx, driver)
	}
}

// wipe removes the slices of a driver, or, where that is "", of all, however often
// it has to be tried.
func (k *Keeper) wipe(ctx context.Context, driver string) {
	selector := fields.Set{resourceapi.ResourceSliceSelectorNodeName: k.o.Node}
	if driver != "" {
		selector[resourceapi.ResourceSliceSelectorDriver] = driver
	}
	for wait := firstWipe; ; wait = min(2*wait, lastWipe) {
		err := k.deleteSlices(ctx, selector)
		if err == nil || apierrors.IsNotFound(err) {
			return
		}
		k.o.Log.LogAttrs(ctx, slog.LevelDebug, "remove ResourceSlices", slog.String("driver", driver), slog.Any("err", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func (k *Keeper) deleteSlices(ctx context.Context, selector fields.Set) error {
	client := k.o.Client()
	if client == nil {
		return errNoAPI
	}
	ctx, cancel := context.WithTimeout(ctx, wipeTimeout)
	defer cancel()
	return client.ResourceV1().ResourceSlices().DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: selector.String()})
}

var errNoAPI = errors.New("there is no API server yet")
