package engine

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"boot.internal/nstest"
)

// runImport imports dir and returns what was reported, in order.
func runImport(t *testing.T, e *Engine, dir string) ([]Imported, error) {
	t.Helper()
	var mu sync.Mutex
	var got []Imported
	err := e.NewImporter(dir, func(im Imported) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, im)
	}).Run(t.Context())
	return got, err
}

func names(all []Imported) []string {
	var out []string
	for _, im := range all {
		out = append(out, im.Image)
	}
	slices.Sort(out)
	return out
}

// listed returns what the engine has, without CRI's references by ID.
func listed(t *testing.T, e *Engine) []string {
	t.Helper()
	tgt, err := newTarget(t.Context(), e.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tgt.client.Close() }()
	all, err := tgt.client.ImageService().List(namespaces.WithNamespace(t.Context(), namespace), `name~="/"`)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, im := range all {
		out = append(out, im.Name)
	}
	slices.Sort(out)
	return out
}

func TestRealImportFormats(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.tar"), ociTar(t, "example.com/a:1", "example.com/b:1"))
	write(t, filepath.Join(dir, "c.tar.gz"), gzipped(t, ociTar(t, "example.com/c:1")))
	write(t, filepath.Join(dir, "d.tar.zst"), zstded(t, ociTar(t, "example.com/d:1")))
	write(t, filepath.Join(dir, ".e.tar"), ociTar(t, "example.com/e:1"))
	write(t, filepath.Join(dir, "f.tar.tmp"), ociTar(t, "example.com/f:1"))
	want := []string{"example.com/a:1", "example.com/b:1", "example.com/c:1", "example.com/d:1"}

	got, err := runImport(t, e, dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, names(got)); diff != "" {
		t.Errorf("reported: %s", diff)
	}
	if diff := cmp.Diff(want, listed(t, e)); diff != "" {
		t.Errorf("in the engine: %s", diff)
	}
	left, err := os.ReadDir(filepath.Join(e.o.root(), "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind %v, %v", left, err)
	}
}

func TestRealImportHappensOnce(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.tar")
	write(t, path, ociTar(t, "example.com/a:1"))
	if _, err := runImport(t, e, dir); err != nil {
		t.Fatal(err)
	}

	// Same size and time: the engine has it all, so nobody looks inside.
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, make([]byte, fi.Size()))
	if err := os.Chtimes(path, fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	got, err := runImport(t, e, dir)
	if err != nil || !slices.Equal(names(got), []string{"example.com/a:1"}) {
		t.Fatalf("second: %v, %v", got, err)
	}

	// The engine has lost the image: the archive is read again.
	tgt, err := newTarget(t.Context(), e.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tgt.client.Close() }()
	ctx := namespaces.WithNamespace(t.Context(), namespace)
	if err := tgt.client.ImageService().Delete(ctx, "example.com/a:1"); err != nil {
		t.Fatal(err)
	}
	if _, err := runImport(t, e, dir); err == nil {
		t.Fatal("not read again")
	}
	write(t, path, ociTar(t, "example.com/a:1"))
	if _, err := runImport(t, e, dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"example.com/a:1"}, listed(t, e)); diff != "" {
		t.Error(diff)
	}
}

func TestRealImportRefusesDamageAndGoesOn(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	dir := t.TempDir()
	whole := ociTar(t, "example.com/bad:1", "example.com/bad:2")
	write(t, filepath.Join(dir, "good.tar"), ociTar(t, "example.com/good:1"))
	write(t, filepath.Join(dir, "half.tar"), whole[:len(whole)/2])
	flipped := bytes.Clone(whole)
	flipped[bytes.Index(flipped, []byte("content of example.com/bad:2"))] ^= 1
	write(t, filepath.Join(dir, "flipped.tar"), flipped)
	_, err := runImport(t, e, dir)
	wantParts(t, err, "half.tar: ", "unexpected EOF", "flipped.tar: ", "has digest")
	if diff := cmp.Diff([]string{"example.com/good:1"}, listed(t, e)); diff != "" {
		t.Errorf("in the engine: %s", diff)
	}
}

func TestRealImportedImagesRunAndStay(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	id := mustStart(t, e)
	mustImportPause(t, e)
	// Neither garbage collection nor another start takes anything away.
	if err := id.Terminate(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	mustStart(t, e)
	ctr := runPause(t, e)
	ctr.mustRun(t)
	ctr.remove(t)
}

func TestRealImportersTakeTurns(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.tar"), ociTar(t, "example.com/a:1", "example.com/b:1"))
	errs := make(chan error)
	for range 3 {
		go func() { errs <- e.NewImporter(dir, nil).Run(t.Context()) }()
	}
	for range 3 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// The images of a control plane, as `make images` packs them.
func TestRealImportOfAControlPlane(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	dir := t.TempDir()
	for _, name := range []string{"etcd", "pause", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"} {
		if err := os.Symlink(nstest.Image(t, name), filepath.Join(dir, name+".tar")); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	first := map[string]time.Duration{}
	var mu sync.Mutex
	err := e.NewImporter(dir, func(im Imported) {
		mu.Lock()
		defer mu.Unlock()
		first[im.Image] = time.Since(begin)
	}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 7 {
		t.Errorf("imported %v", first)
	}
	for _, name := range slices.Sorted(maps.Keys(first)) {
		t.Logf("%s usable after %s", name, first[name].Round(time.Millisecond))
	}
	begin = time.Now()
	if _, err := runImport(t, e, dir); err != nil {
		t.Fatal(err)
	}
	t.Logf("nothing left to do: %s", time.Since(begin).Round(time.Millisecond))
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstded(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}
