package engine

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"boot.internal/hint"
)

// A BundleOptions says what goes into a bundle.
type BundleOptions struct {
	Images []string // by their full names
	// Dir holds archives to take from what the engine does not have; "" is
	// ImagesDir.
	Dir string
	// Plain leaves the bundle uncompressed. Layers usually are compressed already.
	Plain bool
}

// Bundle writes one archive of several images, for this platform, such as an
// Importer reads: what the engine has, if it is a containerd that answers, and what
// the archives in a directory have. An image that neither has is an error, and
// nothing is written then. Every blob is verified as it is written.
func (e *Engine) Bundle(ctx context.Context, w io.Writer, o BundleOptions) error {
	if o.Dir == "" {
		o.Dir = e.o.ImagesDir()
	}
	b := &bundle{e: e, found: map[string]sourced{}}
	defer b.close()
	if err := b.find(ctx, o); err != nil {
		return err
	}
	if o.Plain {
		return b.write(w, o.Images)
	}
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return fmt.Errorf("compress the bundle: %w", err)
	}
	return errors.Join(b.write(z, o.Images), z.Close())
}

// A bundle is one that is being made.
type bundle struct {
	e        *Engine
	found    map[string]sourced
	closings []func() error
}

// sourced is an image and where its blobs are read.
type sourced struct {
	archived
	open func(ocispec.Descriptor) (io.Reader, error)
}

func (b *bundle) close() {
	for _, c := range b.closings {
		_ = c() // they were only read
	}
}

// find looks for the images in the engine and then in archives, which takes longer.
func (b *bundle) find(ctx context.Context, o BundleOptions) error {
	engine := b.inEngine(ctx, o.Images)
	missing := func() []string {
		return slices.DeleteFunc(slices.Clone(o.Images), func(name string) bool { _, ok := b.found[name]; return ok })
	}
	if len(missing()) == 0 {
		return nil
	}
	paths, err := (&Importer{dir: o.Dir}).archives()
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := b.inArchive(ctx, path, missing()); err != nil {
			return hint.With(fmt.Errorf("read image archive %s: %w", path, err), "copy or build the archive again, or remove it")
		}
	}
	if left := missing(); len(left) > 0 {
		err := fmt.Errorf("%s: neither the engine nor an archive in %s has it", left[0], o.Dir)
		for _, name := range left[1:] {
			err = fmt.Errorf("%w\n%s: neither has it", err, name)
		}
		return hint.With(errors.Join(err, engine), "have the engine pull what is missing: boot images pull")
	}
	return nil
}

// inArchive takes those of the images that an archive has.
func (b *bundle) inArchive(ctx context.Context, path string, want []string) error {
	names, err := archiveNames(path)
	if err != nil || !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(want, n) }) {
		return err
	}
	a, err := openArchive(ctx, path, filepath.Join(b.e.o.root(), "tmp"))
	if err != nil {
		return err
	}
	b.closings = append(b.closings, a.close)
	for _, im := range a.images {
		if slices.Contains(want, im.name) {
			b.found[im.name] = sourced{im, func(d ocispec.Descriptor) (io.Reader, error) { return a.open(d.Digest), nil }}
		}
	}
	return nil
}

// inEngine takes those of the images that the engine has in whole: one that was
// pulled may have been left without its layers once they were unpacked. The error
// says why there is nothing to be had of the engine.
func (b *bundle) inEngine(ctx context.Context, want []string) error {
	patient, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := answers(patient, b.e.socket, false); err != nil {
		return err
	}
	t, err := newTarget(ctx, b.e.socket)
	if err != nil {
		return fmt.Errorf("read images of the engine at %s: %w", b.e.socket, err)
	}
	b.closings = append(b.closings, t.client.Close)
	for _, name := range want {
		if im, err := t.sourced(ctx, name); err == nil {
			b.found[name] = im
		}
	}
	return nil
}

// sourced returns an image of the engine, all of whose blobs for this platform are
// there.
func (t *target) sourced(ctx context.Context, name string) (sourced, error) {
	ctx = namespaces.WithNamespace(ctx, namespace)
	im, err := t.client.ImageService().Get(ctx, name)
	if err != nil {
		return sourced{}, err
	}
	store := t.client.ContentStore()
	p := sourced{archived: archived{name: name, target: im.Target}}
	note := images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		p.blobs = append(p.blobs, d)
		_, err := store.Info(ctx, d.Digest)
		return nil, err
	})
	below := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(store), platforms.Default()), platforms.Default(), 1)
	if err := images.Walk(ctx, images.Handlers(note, below), im.Target); err != nil {
		return sourced{}, err
	}
	p.open = func(d ocispec.Descriptor) (io.Reader, error) {
		at, err := store.ReaderAt(ctx, d)
		if err != nil {
			return nil, err
		}
		return closing{io.NewSectionReader(at, 0, d.Size), at}, nil
	}
	return p, nil
}

// closing is a reader of something that is to be closed.
type closing struct {
	io.Reader
	io.Closer
}

// write writes the images in the order in which they were asked for. What they are
// comes first, so that a look at the archive need not read all of it.
func (b *bundle) write(w io.Writer, names []string) error {
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for _, name := range names {
		entry := b.found[name].target
		entry.Annotations = maps.Clone(entry.Annotations)
		if entry.Annotations == nil {
			entry.Annotations = map[string]string{}
		}
		entry.Annotations[images.AnnotationImageName] = name
		entry.Annotations[ocispec.AnnotationRefName] = name
		index.Manifests = append(index.Manifests, entry)
	}
	tw := tar.NewWriter(w)
	if err := writeJSON(tw, ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err != nil {
		return err
	}
	if err := writeJSON(tw, ocispec.ImageIndexFile, index); err != nil {
		return err
	}
	done := map[digest.Digest]bool{}
	for _, name := range names {
		for _, d := range b.found[name].blobs {
			if done[d.Digest] {
				continue
			}
			done[d.Digest] = true
			if err := writeBlob(tw, d, b.found[name].open); err != nil {
				return fmt.Errorf("write blob %s of %s: %w", d.Digest, name, err)
			}
		}
	}
	return tw.Close()
}

func writeJSON(tw *tar.Writer, name string, v any) error {
	data, err := json.Marshal(v)
	if err == nil {
		err = tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	}
	if err == nil {
		_, err = tw.Write(data)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func writeBlob(tw *tar.Writer, d ocispec.Descriptor, open func(ocispec.Descriptor) (io.Reader, error)) error {
	r, err := open(d)
	if err != nil {
		return err
	}
	if c, ok := r.(io.Closer); ok {
		defer func() { _ = c.Close() }()
	}
	name := "blobs/" + d.Digest.Algorithm().String() + "/" + d.Digest.Encoded()
	if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: d.Size}); err != nil {
		return err
	}
	check := d.Digest.Verifier()
	if _, err := io.Copy(io.MultiWriter(tw, check), r); err != nil {
		return err
	}
	if !check.Verified() {
		return errors.New("its content has another digest")
	}
	return nil
}
