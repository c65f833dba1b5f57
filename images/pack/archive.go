package pack

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations by which importers name an image. containerd reads the first
// and falls back on the second.
const (
	annotationName = "io.containerd.image.name"
	annotationRef  = "org.opencontainers.image.ref.name"
)

const (
	layoutName = "oci-layout"
	layoutBody = `{"imageLayoutVersion":"1.0.0"}`
	indexName  = "index.json"
	blobPrefix = "blobs/sha256/"
)

// WriteArchive builds the image and writes it as an OCI archive of its own.
func (r Recipe) WriteArchive(w io.Writer) error {
	img, err := r.Image()
	if err != nil {
		return err
	}
	desc, err := r.descriptor(img)
	if err != nil {
		return fmt.Errorf("describe %s: %w", r.Name, err)
	}
	a := newArchive(w, r.Created)
	if err := a.begin([]v1.Descriptor{*desc}); err != nil {
		return err
	}
	if err := a.image(img); err != nil {
		return fmt.Errorf("archive %s: %w", r.Name, err)
	}
	return a.tw.Close()
}

func (r Recipe) descriptor(img v1.Image) (*v1.Descriptor, error) {
	desc, err := partial.Descriptor(img)
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	desc.Platform = &v1.Platform{OS: config.OS, Architecture: config.Architecture}
	desc.Annotations = map[string]string{annotationName: r.Name, annotationRef: r.Name}
	return desc, nil
}

// An archive is an OCI layout in a tar stream, being written.
type archive struct {
	tw      *tar.Writer
	mtime   time.Time
	written map[string]bool // names of the blobs that are in it
}

func newArchive(w io.Writer, mtime time.Time) *archive {
	return &archive{tw: tar.NewWriter(w), mtime: mtime, written: map[string]bool{}}
}

// begin writes what names the images, ahead of their blobs, so that a reader
// knows what is coming.
func (a *archive) begin(images []v1.Descriptor) error {
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: images,
	})
	if err != nil {
		return fmt.Errorf("encode %s: %w", indexName, err)
	}
	if err := a.file(layoutName, strings.NewReader(layoutBody), int64(len(layoutBody))); err != nil {
		return err
	}
	return a.file(indexName, bytes.NewReader(index), int64(len(index)))
}

// image writes an image. Its manifest comes last: an archive that has it is not
// cut short.
func (a *archive) image(img v1.Image) error {
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range append(layers, config) {
		if err := a.layer(l); err != nil {
			return err
		}
	}
	manifest, err := img.RawManifest()
	if err != nil {
		return err
	}
	digest, err := img.Digest()
	if err != nil {
		return err
	}
	return a.blob(digest.Hex, bytes.NewReader(manifest), int64(len(manifest)))
}

func (a *archive) layer(l v1.Layer) error {
	digest, err := l.Digest()
	if err != nil {
		return err
	}
	size, err := l.Size()
	if err != nil {
		return err
	}
	content, err := l.Compressed()
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // it was only read
	return a.blob(digest.Hex, content, size)
}

// blob writes a blob unless the archive has it.
func (a *archive) blob(hex string, content io.Reader, size int64) error {
	name := blobPrefix + hex
	if a.written[name] {
		return nil
	}
	a.written[name] = true
	return a.file(name, content, size)
}

func (a *archive) file(name string, content io.Reader, size int64) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: a.mtime, Format: tar.FormatPAX}
	if err := a.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := io.Copy(a.tw, content); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Merge writes one archive with the images of all the given ones, in that
// order, and every blob once. The result is framed as zstd; its layers are
// compressed already.
func Merge(w io.Writer, mtime time.Time, archives ...string) error {
	zw, err := wrap(w)
	if err != nil {
		return err
	}
	if err := mergeTar(zw, mtime, archives); err != nil {
		return errors.Join(err, zw.Close())
	}
	return zw.Close()
}

func mergeTar(w io.Writer, mtime time.Time, archives []string) error {
	var images []v1.Descriptor
	for _, name := range archives {
		index, err := readIndex(name)
		if err != nil {
			return err
		}
		images = append(images, index.Manifests...)
	}
	a := newArchive(w, mtime)
	if err := a.begin(images); err != nil {
		return err
	}
	for _, name := range archives {
		if err := walkTar(name, a.copyBlob); err != nil {
			return err
		}
	}
	for _, desc := range images {
		if !a.written[blobPrefix+desc.Digest.Hex] {
			return fmt.Errorf("merge: the archive of %s is cut short", desc.Annotations[annotationName])
		}
	}
	return a.tw.Close()
}

func (a *archive) copyBlob(h *tar.Header, content io.Reader) error {
	hex, isBlob := strings.CutPrefix(h.Name, blobPrefix)
	if !isBlob {
		return nil
	}
	return a.blob(hex, content, h.Size)
}

func readIndex(archive string) (v1.IndexManifest, error) {
	var index v1.IndexManifest
	found := false
	err := walkTar(archive, func(h *tar.Header, content io.Reader) error {
		if path.Clean(h.Name) != indexName {
			return nil
		}
		found = true
		return json.NewDecoder(content).Decode(&index)
	})
	if err == nil && !found {
		err = fmt.Errorf("read %s: it has no %s", archive, indexName)
	}
	return index, err
}

// walkTar calls visit for every file in the archive.
func walkTar(archive string, visit func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	for tr := tar.NewReader(f); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", archive, err)
		}
		if err := visit(h, tr); err != nil {
			return fmt.Errorf("read %s in %s: %w", h.Name, archive, err)
		}
	}
}
