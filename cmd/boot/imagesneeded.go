package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/config"
	"boot.internal/engine"
	"boot.internal/hint"
	"boot.internal/kubelet/runtime"
)

// imagesTimeout bounds the wait for an image, from an engine that is only being
// unpacked and a registry that is far away.
const imagesTimeout = 10 * time.Minute

// imagesInterval is how often the engine is asked whether it has what the loop is
// importing.
const imagesInterval = 250 * time.Millisecond

// Images are those of the engine, whoever runs it.
type images struct {
	boot   config.BootConfiguration
	socket string // as configured; "" has the engine found
	log    *slog.Logger
}

// Present implements phases.Images.
func (i images) Present(ctx context.Context, image string) (bool, error) {
	e, err := findEngine(ctx, i.boot, i.socket, i.log)
	if err != nil {
		return false, err
	}
	return present(ctx, e, image)
}

func present(ctx context.Context, e *engine.Engine, image string) (bool, error) {
	conn, err := runtime.Dial(e.Endpoint(), "")
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	return has(ctx, conn, image)
}

// has tells whether the engine has an image.
func has(ctx context.Context, conn *runtime.Conn, image string) (bool, error) {
	status, err := conn.Images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil {
		return false, fmt.Errorf("look for the image %s: %w", image, err)
	}
	return status.GetImage() != nil, nil
}

// Get implements phases.Images. The loop starts the engine and imports what lies
// about as archives, which this takes turns with: what is left after that has to be
// pulled.
func (i images) Get(ctx context.Context, image string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, imagesTimeout, fmt.Errorf("no image after %s", imagesTimeout))
	defer cancel()
	e, err := findEngine(ctx, i.boot, i.socket, i.log)
	if err != nil {
		return err
	}
	conn, err := runtime.Dial(e.Endpoint(), "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := awaitEngine(ctx, conn, image); err != nil {
		return err
	}
	over := make(chan struct{})
	importing, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer close(over)
		// What is wrong with an archive is for the loop to tell.
		_ = e.NewImporter(i.boot.ImagesDir, nil).Run(importing)
	}()
	if awaitImage(ctx, conn, image, over) {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return pull(ctx, conn, image)
}

// awaitEngine waits until the engine answers.
func awaitEngine(ctx context.Context, conn *runtime.Conn, image string) error {
	tick := time.NewTicker(imagesInterval)
	defer tick.Stop()
	for {
		_, err := has(ctx, conn, image)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// awaitImage waits until the engine has an image, or nothing brings any. An engine that
// does not answer now may do so again.
func awaitImage(ctx context.Context, conn *runtime.Conn, image string, over <-chan struct{}) bool {
	tick := time.NewTicker(imagesInterval)
	defer tick.Stop()
	for {
		if is, err := has(ctx, conn, image); err == nil && is {
			return true
		}
		select {
		case <-tick.C:
		case <-over:
			return false
		}
	}
}

// pull has the engine pull an image, if the import has not brought it.
func pull(ctx context.Context, conn *runtime.Conn, image string) error {
	if is, err := has(ctx, conn, image); err != nil || is {
		return err
	}
	if _, err := conn.Images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}}); err != nil {
		return hint.With(fmt.Errorf("pull the image %s: %w", image, err), "put an archive of it into the images directory, or see to the registry being reached")
	}
	return nil
}
