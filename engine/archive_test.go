package engine

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func open(t *testing.T, data []byte) (*archive, error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "x.tar")
	write(t, path, data)
	a, err := openArchive(t.Context(), path, filepath.Join(dir, "tmp"))
	if err == nil {
		t.Cleanup(func() { _ = a.close() })
	}
	return a, err
}

func TestOpenArchiveRefuses(t *testing.T) {
	whole := ociTar(t, "example.com/a:1")
	missing := newLayout(t)
	missing.add("example.com/a:1", missing.manifest("a"))
	for name := range missing.files {
		if string(missing.files[name][:1]) != "{" { // the layer
			missing.order = slices.DeleteFunc(missing.order, func(n string) bool { return n == name })
		}
	}
	unnamed := newLayout(t)
	unnamed.add("1.0", unnamed.manifest("a"))
	short := newLayout(t)
	desc := short.manifest("a")
	desc.Size--
	short.add("example.com/a:1", desc)
	foreign := newLayout(t)
	foreign.add("example.com/a:1", foreign.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		Manifests: []ocispec.Descriptor{{Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}},
	}))
	notJSON := newLayout(t)
	notJSON.add("example.com/a:1", notJSON.blob(ocispec.MediaTypeImageManifest, []byte("<xml>")))
	for name, tc := range map[string]struct {
		data []byte
		want []string
	}{
		"empty file":       {nil, []string{"not a whole archive"}},
		"no tar":           {[]byte("hello, this is text"), []string{"not a whole tar file"}},
		"zeroes":           {make([]byte, 4096), []string{"not an OCI image archive"}},
		"cut in a blob":    {whole[:3000], []string{"unexpected EOF"}},
		"cut between":      {whole[:512+512], []string{"not an OCI image archive"}},
		"half a gzip":      {gzipped(t, whole)[:300], []string{"decompress", "unexpected EOF"}},
		"half a zstd":      {zstded(t, whole)[:300], []string{"decompress"}},
		"another tar":      {tarOf(t, []string{"x"}, map[string][]byte{"x": []byte("y")}), []string{"no oci-layout"}},
		"no images":        {newLayout(t).tar(), []string{"lists no image"}},
		"layer missing":    {missing.tar(), []string{"image example.com/a:1: ", "is missing"}},
		"bare tag":         {unnamed.tar(), []string{"no full image name"}},
		"wrong size":       {short.tar(), []string{"should have"}},
		"other platform":   {foreign.tar(), []string{"nothing in it for linux/" + runtime.GOARCH}},
		"manifest no JSON": {notJSON.tar(), []string{"image example.com/a:1: ", "invalid character"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, tc.data)
			wantParts(t, err, tc.want...)
		})
	}
}

func TestOpenArchiveFindsImages(t *testing.T) {
	l := newLayout(t)
	l.add("example.com/plain:1", l.manifest("plain"))
	here := l.manifest("here")
	here.Platform = &ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	elsewhere := ocispec.Descriptor{Platform: &ocispec.Platform{OS: "linux", Architecture: "s390x"}}
	l.add("example.com/multi:1", l.json(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{elsewhere, here},
	}))
	a, err := open(t, l.tar())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, im := range a.images {
		got[im.name] = len(im.blobs)
	}
	// Manifest, configuration, layer; the index comes on top.
	want := map[string]int{"example.com/plain:1": 3, "example.com/multi:1": 4}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOpenArchiveStopsWhenCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar.gz")
	write(t, path, gzipped(t, ociTar(t, "example.com/a:1")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := openArchive(ctx, path, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestArchivesInOrderOfUrgency(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"a.tar", "kube-apiserver.tar", "etcd.tar.zst", "pause.tar.gz", ".etcd.tar", "notes.txt", "etcd.tar.zst.part",
	} {
		write(t, filepath.Join(dir, name), nil)
	}
	mkdir(t, filepath.Join(dir, "dir.tar"))
	got, err := (&Importer{dir: dir}).archives()
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range got {
		got[i] = filepath.Base(path)
	}
	if diff := cmp.Diff([]string{"etcd.tar.zst", "pause.tar.gz", "kube-apiserver.tar", "a.tar"}, got); diff != "" {
		t.Error(diff)
	}
	if got, err := (&Importer{dir: filepath.Join(dir, "none")}).archives(); err != nil || got != nil {
		t.Errorf("no directory: %v, %v", got, err)
	}
}

func TestAwait(t *testing.T) {
	e := &Engine{o: Options{Dir: t.TempDir()}.withDefaults()}
	i := e.NewImporter("", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Await(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Fatalf("before the import: %v", err)
	}
	i.announce(Imported{Image: "a"})
	i.announce(Imported{Image: "a"}) // a second archive has it, too
	if err := i.Await(t.Context(), "a"); err != nil {
		t.Fatalf("imported: %v", err)
	}
	// No directory, so Run has nothing to do, and no image to wait for.
	if err := i.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := i.Await(t.Context(), "b"); err != nil {
		t.Fatalf("after the import: %v", err)
	}
}
