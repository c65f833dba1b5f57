package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"boot.internal/nstest"
)

// notRunning is an engine that nobody has started, with archives in its directory.
func notRunning(t *testing.T, archives map[string][]byte) *Engine {
	t.Helper()
	dir := t.TempDir()
	e := &Engine{o: Options{Dir: dir, RunDir: filepath.Join(dir, "run")}.withDefaults(), socket: filepath.Join(dir, "no.sock"), own: true}
	if err := os.MkdirAll(e.o.ImagesDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range archives {
		write(t, filepath.Join(e.o.ImagesDir(), name), data)
	}
	return e
}

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func mustBundle(t *testing.T, e *Engine, plain bool, images ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Bundle(t.Context(), &b, BundleOptions{Images: images, Plain: plain}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is bundled from several archives, and kept on another host, is there.
func TestBundleKeep(t *testing.T) {
	from := notRunning(t, map[string][]byte{
		"ab.tar":     ociTar(t, "example.com/a:1", "example.com/b:1"),
		"c.tar.gz":   gzipped(t, ociTar(t, "example.com/c:1")),
		"d.tar.zst":  zstded(t, ociTar(t, "example.com/d:1")),
		".half.tar":  []byte("no archive"),
		"readme.txt": []byte("no archive either"),
	})
	want := []string{"example.com/c:1", "example.com/a:1", "example.com/d:1"}
	for name, plain := range map[string]bool{"images.tar": true, "images.tar.zst": false} {
		t.Run(name, func(t *testing.T) {
			data := mustBundle(t, from, plain, want...)
			if !bytes.Equal(data, mustBundle(t, from, plain, want...)) {
				t.Error("another bundle of the same images differs")
			}
			to := notRunning(t, nil)
			at, got, err := to.Keep(t.Context(), bytes.NewReader(data), "", "images")
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(at) != name || !slices.Equal(got, want) {
				t.Errorf("kept %v in %s", got, at)
			}
			if all, err := to.Archives(""); err != nil || !slices.Equal(all[at], want) {
				t.Errorf("archives %v, %v", all, err)
			}
		})
	}
}

// A bundle that lacks an image is not begun.
func TestBundleLacking(t *testing.T) {
	e := notRunning(t, map[string][]byte{"a.tar": ociTar(t, "example.com/a:1")})
	var b bytes.Buffer
	err := e.Bundle(t.Context(), &b, BundleOptions{Images: []string{"example.com/a:1", "example.com/x:1", "example.com/y:1"}})
	wantParts(t, err, "example.com/x:1", "example.com/y:1", e.o.ImagesDir())
	if b.Len() > 0 {
		t.Errorf("%d bytes are written", b.Len())
	}
}

// An archive that is cut off, anywhere, leaves nothing: neither in place of what was
// there under its name nor beside it.
func TestKeepCutOff(t *testing.T) {
	whole := ociTar(t, "example.com/a:1", "example.com/b:1")
	for name, data := range map[string][]byte{"plain": whole, "gzip": gzipped(t, whole), "zstd": zstded(t, whole)} {
		t.Run(name, func(t *testing.T) {
			e := notRunning(t, nil)
			at, _, err := e.Keep(t.Context(), bytes.NewReader(data), "", "images")
			if err != nil {
				t.Fatal(err)
			}
			end := len(data)
			if name == "plain" {
				end -= 2048 // what ends a tar file, and fills its blocks, may be missing
			}
			for _, n := range []int{0, 3, 600, end / 2, end - 1} {
				if _, _, err := e.Keep(t.Context(), bytes.NewReader(data[:n]), "", "images"); err == nil {
					t.Errorf("%d of %d bytes are an archive", n, len(data))
				}
			}
			if have := filesIn(t, e.o.ImagesDir()); !slices.Equal(have, []string{filepath.Base(at)}) {
				t.Errorf("in the directory are %q", have)
			}
			if have, err := os.ReadFile(at); err != nil || !bytes.Equal(have, data) {
				t.Errorf("what was there is no longer: %v", err)
			}
		})
	}
}

func TestArchiveName(t *testing.T) {
	for name, want := range map[string]string{
		"images": "images.tar", "a/b.tar.zst": "b.tar", "x.tgz": "x.tar", ".hidden.tar": "hidden.tar", "v1.37.2": "v1.37.2.tar",
	} {
		if got := archiveName(name, nil); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// What an engine has is bundled from there, whole, and comes back.
func TestRealBundle(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	e := node(t)
	mustStart(t, e)
	archive := filepath.Join(t.TempDir(), "ab.tar")
	write(t, archive, ociTar(t, "example.com/a:1", "example.com/b:1"))
	if err := e.Import(t.Context(), archive, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(archive); err != nil {
		t.Fatal(err)
	}
	data := mustBundle(t, e, false, "example.com/b:1", "example.com/a:1")
	at, names, err := e.Keep(t.Context(), bytes.NewReader(data), t.TempDir(), "ab")
	if err != nil || !slices.Equal(names, []string{"example.com/b:1", "example.com/a:1"}) {
		t.Fatalf("kept %v: %v", names, err)
	}
	if err := e.Import(t.Context(), at, nil); err != nil {
		t.Fatal(err)
	}
}
