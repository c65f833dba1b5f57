package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decompress returns f, or, if f is compressed, a nameless file with its plain
// content in place of it.
func decompress(ctx context.Context, f *os.File, tmp string) (*os.File, error) {
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err != nil {
		return nil, fmt.Errorf("not a whole archive: %w", err)
	}
	var plain io.Reader
	switch {
	case strings.HasPrefix(string(magic), gzipMagic):
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("read gzip: %w", err)
		}
		plain = z
	case string(magic) == zstdMagic:
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("read zstd: %w", err)
		}
		defer z.Close()
		plain = z
	default:
		return f, nil
	}
	out, err := nameless(tmp)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(out, readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return plain.Read(p)
	}))
	if err == nil {
		_, err = out.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("decompress: %w", err), out.Close())
	}
	return out, f.Close()
}

// nameless returns a file that is gone once closed.
func nameless(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// readFunc lets a function be an io.Reader.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
