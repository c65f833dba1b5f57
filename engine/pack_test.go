package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// packed is an engine archive in memory.
type packed struct {
	data []byte
	sum  string
}

func (p packed) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.data)), nil }

func (p packed) Sum() string { return p.sum }

// pack makes an engine archive of the files, named by path.
func pack(t *testing.T, files map[string]string) packed {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(z)
	for name, text := range files {
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return packed{data: b.Bytes()}
}

// repacked is the same engine under another digest: an empty frame is added,
// which says nothing.
func repacked(t *testing.T, a Archive) Archive {
	t.Helper()
	r, err := a.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	path := filepath.Join(t.TempDir(), "engine.tar.zst")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	skippable := []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}
	if _, err := f.Write(skippable); err != nil {
		t.Fatal(err)
	}
	return File(path)
}
