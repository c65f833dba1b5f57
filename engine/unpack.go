package engine

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"boot.internal/engine/bundled"
	"boot.internal/hint"
	"boot.internal/process"
)

// An Archive is a container engine packed as zstd-compressed tar of one flat
// directory of executables.
type Archive interface {
	// Open returns the packed bytes.
	Open() (io.ReadCloser, error)
	// Sum is their SHA-256 in hexadecimal, or "" if that is not known without
	// reading them.
	Sum() string
}

// embedded is the engine inside this binary.
type embedded struct{}

func (embedded) Open() (io.ReadCloser, error) {
	r, err := bundled.Open()
	if errors.Is(err, bundled.ErrNone) {
		return nil, hint.With(err, "build boot with `make build`, or name the socket of a running engine with --cri-socket")
	}
	return r, err
}

func (embedded) Sum() string { return bundled.Sum() }

// File is an engine packed in a file.
type File string

// Open opens the file.
func (f File) Open() (io.ReadCloser, error) { return os.Open(string(f)) }

// Sum is not known of a file that may change.
func (f File) Sum() string { return "" }

// unpack returns the directory that holds the archive's files, below dir and
// named after the digest of the archive. A directory of that name is always
// complete: it gets its name by rename, after everything in it is on the disk.
func unpack(ctx context.Context, a Archive, dir string) (string, error) {
	sum := a.Sum()
	if sum == "" {
		var err error
		if sum, err = sumOf(a); err != nil {
			return "", err
		}
	}
	target := filepath.Join(dir, sum)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("unpack the engine: %w", err)
	}
	tmp, err := os.MkdirTemp(dir, ".unpack-")
	if err != nil {
		return "", fmt.Errorf("unpack the engine: %w", err)
	}
	if err := extract(ctx, a, tmp, sum); err != nil {
		return "", errors.Join(fmt.Errorf("unpack the engine: %w", err), os.RemoveAll(tmp))
	}
	if err := settle(tmp, target); err != nil {
		return "", errors.Join(fmt.Errorf("unpack the engine: %w", err), os.RemoveAll(tmp))
	}
	return target, nil
}

// settle gives the complete directory tmp its name, unless another process was
// faster: then that one's is as good.
func settle(tmp, target string) error {
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := syncDir(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, target); err != nil {
		if _, there := os.Stat(target); there != nil {
			return err
		}
		return os.RemoveAll(tmp)
	}
	return syncDir(filepath.Dir(target))
}

func sumOf(a Archive) (string, error) {
	r, err := a.Open()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return "", fmt.Errorf("read the packed engine: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// extract writes the archive's files into dir and fails if the archive is not
// the one that sum is of.
func extract(ctx context.Context, a Archive, dir, sum string) error {
	r, err := a.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	h := sha256.New()
	packed := io.TeeReader(r, h)
	z, err := zstd.NewReader(packed)
	if err != nil {
		return fmt.Errorf("read zstd: %w", err)
	}
	defer z.Close()
	if err := extractTar(ctx, tar.NewReader(z), dir); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "containerd")); err != nil {
		return errors.New("there is no containerd in the archive")
	}
	// What follows the end of the tar counts for the digest, too.
	if _, err := io.Copy(io.Discard, z); err != nil {
		return fmt.Errorf("read zstd: %w", err)
	}
	if _, err := io.Copy(io.Discard, packed); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return fmt.Errorf("the archive is damaged: its SHA-256 is %s and should be %s", got, sum)
	}
	return nil
}

func extractTar(ctx context.Context, tr *tar.Reader, dir string) error {
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if hdr.Typeflag == tar.TypeDir {
			continue
		}
		name := filepath.Clean(hdr.Name)
		if hdr.Typeflag != tar.TypeReg || name != filepath.Base(name) || !filepath.IsLocal(name) {
			return fmt.Errorf("entry %q: want only files of one flat directory", hdr.Name)
		}
		if err := extractFile(filepath.Join(dir, name), tr); err != nil {
			return err
		}
	}
}

func extractFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// prune removes from dir what nobody needs any more: engines of other digests,
// unless a process still runs from them, and what killed unpackings left. Only
// the holder of the engine's lock may call it.
func prune(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("remove old engines: %w", err)
	}
	used := map[string]bool{keep: true}
	_, err = process.All(func(id process.ID) bool {
		if exe, err := id.Exe(); err == nil {
			used[filepath.Dir(exe)] = true
		}
		return false
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() || used[path] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("remove old engine: %w", err)
		}
	}
	return nil
}
