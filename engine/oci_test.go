package engine

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// layout is an OCI image layout being made.
type layout struct {
	t     *testing.T
	files map[string][]byte
	order []string
	index ocispec.Index
}

func newLayout(t *testing.T) *layout {
	l := &layout{t: t, files: map[string][]byte{}}
	l.index.Versioned = specs.Versioned{SchemaVersion: 2}
	l.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return l
}

func (l *layout) file(name string, data []byte) {
	if _, ok := l.files[name]; !ok {
		l.order = append(l.order, name)
	}
	l.files[name] = data
}

func (l *layout) blob(mediaType string, data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	l.file("blobs/sha256/"+d.Encoded(), data)
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(data))}
}

func (l *layout) json(mediaType string, v any) ocispec.Descriptor {
	l.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, data)
}

// manifest adds an image of one file that says whose content it is.
func (l *layout) manifest(name string) ocispec.Descriptor {
	l.t.Helper()
	layer := tarOf(l.t, []string{"etc/name"}, map[string][]byte{"etc/name": []byte("content of " + name)})
	var config ocispec.Image
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layer)}}
	return l.json(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    l.json(ocispec.MediaTypeImageConfig, config),
		Layers:    []ocispec.Descriptor{l.blob(ocispec.MediaTypeImageLayer, layer)},
	})
}

func (l *layout) add(name string, desc ocispec.Descriptor) {
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	l.index.Manifests = append(l.index.Manifests, desc)
}

func (l *layout) tar() []byte {
	l.t.Helper()
	data, err := json.Marshal(l.index)
	if err != nil {
		l.t.Fatal(err)
	}
	l.file("index.json", data)
	return tarOf(l.t, l.order, l.files)
}

// ociTar is an archive with small images of these names.
func ociTar(t *testing.T, names ...string) []byte {
	t.Helper()
	l := newLayout(t)
	for _, name := range names {
		l.add(name, l.manifest(name))
	}
	return l.tar()
}

func tarOf(t *testing.T, order []string, files map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range order {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func wantParts(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q lacks %q", err, part)
		}
	}
}
