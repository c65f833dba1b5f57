package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/backoff"
)

// target is the engine that images are imported into.
type target struct {
	socket      string
	client      *containerd.Client
	snapshotter string
	moved       func() // called after each step of an import
}

// newTarget connects to the engine and finds out where images are unpacked.
func newTarget(ctx context.Context, socket string) (*target, error) {
	client, err := containerd.New(socket, containerd.WithDefaultNamespace(namespace))
	if err != nil {
		return nil, err
	}
	found, err := client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1,id==overlayfs")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ask for snapshotters: %w", err), client.Close())
	}
	t := &target{socket: socket, client: client, snapshotter: "native", moved: func() {}}
	for _, p := range found.Plugins {
		if p.InitErr == nil {
			t.snapshotter = "overlayfs"
		}
	}
	return t, nil
}

// has reports whether the engine has all of these images. None are not known,
// hence not had.
func (t *target) has(ctx context.Context, want map[string]digest.Digest) bool {
	for name, d := range want {
		im, err := t.client.ImageService().Get(ctx, name)
		if err != nil || im.Target.Digest != d {
			return false
		}
	}
	return len(want) > 0
}

// put makes one image of the archive usable: its content, its snapshot and then
// its name, which holds on to both. Until then a lease does; it ends with us.
func (t *target) put(ctx context.Context, a *archive, im archived) error {
	ctx, done, err := t.client.WithLease(ctx)
	if err != nil {
		return fmt.Errorf("take a lease: %w", err)
	}
	defer func() { _ = done(context.WithoutCancel(ctx)) }()
	store := t.client.ContentStore()
	for _, blob := range im.blobs {
		if err := content.WriteBlob(ctx, store, "boot-"+blob.Digest.String(), a.open(blob.Digest), blob); err != nil {
			return fmt.Errorf("write blob %s: %w", blob.Digest, err)
		}
		t.moved()
	}
	if err := holdTogether(ctx, store, im.target); err != nil {
		return err
	}
	record := images.Image{Name: im.name, Target: im.target}
	// Without syncing, a power cut soon after would leave files of no content
	// in a snapshot that counts as complete.
	err = containerd.NewImage(t.client, record).
		Unpack(ctx, t.snapshotter, containerd.WithUnpackApplyOpts(diff.WithSyncFs(true)))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := t.name(ctx, record); err != nil {
		return err
	}
	return t.usable(ctx, im.name)
}

// holdTogether lets the garbage collector know which blob needs which.
func holdTogether(ctx context.Context, store content.Store, top ocispec.Descriptor) error {
	handler := images.FilterPlatforms(images.ChildrenHandler(store), platforms.Default())
	handler = images.SetChildrenLabels(store, handler)
	if err := images.Walk(ctx, handler, top); err != nil {
		return fmt.Errorf("label the image's blobs: %w", err)
	}
	return nil
}

// name makes the image known. It gets no labels here: CRI adds its own when it
// sees an image without them, and with them the reference by ID.
func (t *target) name(ctx context.Context, im images.Image) error {
	_, err := t.client.ImageService().Update(ctx, im, "target")
	if errdefs.IsNotFound(err) {
		_, err = t.client.ImageService().Create(ctx, im)
	}
	if err != nil {
		return fmt.Errorf("name the image: %w", err)
	}
	return nil
}

// usable waits until CRI has noticed the image. It does so through an event of
// its own, a moment later, and tells nobody.
func (t *target) usable(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := dial(t.socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	cri := runtimev1.NewImageServiceClient(conn)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		st, err := cri.ImageStatus(ctx, &runtimev1.ImageStatusRequest{Image: &runtimev1.ImageSpec{Image: name}})
		if err == nil && st.GetImage() != nil {
			return nil
		}
		if !backoff.Sleep(ctx, pause) {
			return fmt.Errorf("the engine does not list the image: %w", cmp.Or(err, ctx.Err()))
		}
	}
}
