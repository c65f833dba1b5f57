package pack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

var created = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func recipe(name string) Recipe {
	return Recipe{
		Name: name, Created: created,
		Root:   Tree{Text("etc/motd", "hello\n"), Text("name", name), Symlink("bin/sh", "/name")},
		Config: v1.Config{Entrypoint: []string{"/name"}, Env: []string{"PATH=/bin"}, User: "1:1"},
	}
}

func writeArchive(t *testing.T, r Recipe) string {
	t.Helper()
	var buf bytes.Buffer
	if err := r.WriteArchive(&buf); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// open reads an archive as another program would: with the library's reader of
// OCI layouts.
func open(t *testing.T, r io.Reader) layout.Path {
	t.Helper()
	dir := t.TempDir()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	marker, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
	if err != nil || string(marker) != `{"imageLayoutVersion":"1.0.0"}` {
		t.Fatalf("oci-layout: %q, %v", marker, err)
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func images(t *testing.T, path layout.Path) []v1.Descriptor {
	t.Helper()
	index, err := path.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Manifests
}

// verify recomputes every digest and size that the image claims.
func verify(t *testing.T, img v1.Image) {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "config", manifest.Config.Digest, bytes.NewReader(config), manifest.Config.Size)
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 || len(file.RootFS.DiffIDs) != 1 {
		t.Fatalf("want one layer: %v, %v, %v", layers, file.RootFS, err)
	}
	packed, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "layer", manifest.Layers[0].Digest, bytes.NewReader(data), manifest.Layers[0].Size)
	plain := decompress(t, bytes.NewReader(data))
	equal(t, "diff ID", file.RootFS.DiffIDs[0], bytes.NewReader(plain), int64(len(plain)))
}

func equal(t *testing.T, what string, want v1.Hash, r io.Reader, size int64) {
	t.Helper()
	got, n, err := v1.SHA256(r)
	if err != nil {
		t.Fatal(err)
	}
	if got != want || n != size {
		t.Errorf("%s is %v of %d bytes, and claims to be %v of %d", what, got, n, want, size)
	}
}

func TestArchiveIsAnOCILayoutThatNamesItsImage(t *testing.T) {
	const name = "registry.k8s.io/coredns/coredns:v1"
	file, err := os.Open(writeArchive(t, recipe(name)))
	if err != nil {
		t.Fatal(err)
	}
	path := open(t, file)

	all := images(t, path)
	if len(all) != 1 {
		t.Fatalf("the index lists %d images, want 1", len(all))
	}
	want := map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
	if diff := cmp.Diff(want, all[0].Annotations); diff != "" {
		t.Error("annotations (-want +got):", diff)
	}
	if all[0].MediaType != types.OCIManifestSchema1 {
		t.Error("media type:", all[0].MediaType)
	}
	if all[0].Platform == nil || all[0].Platform.OS != "linux" {
		t.Error("platform:", all[0].Platform)
	}
	img, err := path.Image(all[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, img)
}

func TestImageKeepsItsConfiguration(t *testing.T) {
	img, err := recipe("a:1").Image()
	if err != nil {
		t.Fatal(err)
	}
	got, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(recipe("a:1").Config, got.Config); diff != "" {
		t.Error("config (-want +got):", diff)
	}
	if !got.Created.Equal(created) || got.OS != "linux" {
		t.Errorf("created %v for %s", got.Created, got.OS)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(manifest.Layers); n != 1 || manifest.Layers[0].MediaType != types.OCILayerZStd {
		t.Errorf("layers: %+v", manifest.Layers)
	}
}

func TestSameInputSameBytes(t *testing.T) {
	r := recipe("a:1")
	r.Config.ExposedPorts = map[string]struct{}{"1/tcp": {}, "2/tcp": {}, "3/tcp": {}}
	shuffled := r
	shuffled.Root = slices.Clone(r.Root)
	slices.Reverse(shuffled.Root)

	first, err := os.ReadFile(writeArchive(t, r))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(writeArchive(t, shuffled))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the archive depends on more than what is in it")
	}
}

func TestMergeHasEveryImageAndEveryBlobOnce(t *testing.T) {
	twin := recipe("b:1")
	twin.Root = recipe("a:1").Root // the same layer and configuration under another name
	archives := []string{
		writeArchive(t, recipe("a:1")), writeArchive(t, twin), writeArchive(t, recipe("c:1")),
	}
	var buf, again bytes.Buffer
	if err := Merge(&buf, created, archives...); err != nil {
		t.Fatal(err)
	}
	if err := Merge(&again, created, archives...); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), again.Bytes()) {
		t.Error("merged twice, the bytes differ")
	}

	plain := decompress(t, &buf)
	seen := map[string]int{}
	for _, name := range entryNames(t, plain) {
		seen[name]++
		if seen[name] > 1 {
			t.Errorf("%s is in the archive twice", name)
		}
	}
	path := open(t, bytes.NewReader(plain))
	var names []string
	for _, desc := range images(t, path) {
		names = append(names, desc.Annotations[annotationName])
		img, err := path.Image(desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, img)
	}
	if diff := cmp.Diff([]string{"a:1", "b:1", "c:1"}, names); diff != "" {
		t.Error("images (-want +got):", diff)
	}
}

func decompress(t *testing.T, r io.Reader) []byte {
	t.Helper()
	zr, err := zstd.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	defer zr.Close()
	plain, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func entryNames(t *testing.T, data []byte) []string {
	t.Helper()
	var names []string
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}

func TestMergeRefuses(t *testing.T) {
	noIndex := filepath.Join(t.TempDir(), "empty.tar")
	var buf bytes.Buffer
	if err := (Tree{Text("oci-layout", "{}")}).WriteTar(&buf, created); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(noIndex, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(writeArchive(t, recipe("a:1")))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{"a missing archive": filepath.Join(t.TempDir(), "none.tar"), "no index": noIndex}
	// However much of it is missing; the last two blocks are the end mark.
	for blocks := 3; blocks < len(whole)/512; blocks++ {
		cut := filepath.Join(t.TempDir(), "cut.tar")
		if err := os.WriteFile(cut, whole[:len(whole)-512*blocks], 0o600); err != nil {
			t.Fatal(err)
		}
		cases[fmt.Sprintf("all but %d blocks", blocks)] = cut
	}
	for name, archive := range cases {
		if err := Merge(io.Discard, created, archive); err == nil {
			t.Errorf("%s: merged all the same", name)
		}
	}
}
