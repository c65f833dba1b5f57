package vm

import (
	"context"
	"crypto/sha256"
	_ "embed" // the script
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed image.sh
var script []byte

// An image is what machines start from. Nothing writes to it.
type image struct{ dir string }

func (i image) root() string   { return filepath.Join(i.dir, "root.ext4") }
func (i image) kernel() string { return filepath.Join(i.dir, "vmlinuz") }
func (i image) initrd() string { return filepath.Join(i.dir, "initrd") }

// cacheDir is where images are kept: $BOOT_CACHE, or ~/.cache/boot.
func cacheDir() (string, error) {
	if dir := os.Getenv("BOOT_CACHE"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache/boot"), err
}

// imageIn returns the image that the script makes, in a cache, and makes it if it is
// not there. It is named after the script, and there as a whole or not at all.
func imageIn(ctx context.Context, cache string, log *os.File) (i image, err error) {
	i = image{filepath.Join(cache, fmt.Sprintf("vm-%x", sha256.Sum256(script))[:19])}
	if _, err := os.Stat(i.dir); !errors.Is(err, fs.ErrNotExist) {
		return i, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return i, fmt.Errorf("make an image: %w", err)
	}
	tmp, err := os.MkdirTemp(cache, "vm-new-")
	if err != nil {
		return i, fmt.Errorf("make an image: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	cmd := exec.CommandContext(ctx, "bash", "-c", string(script), "image.sh", tmp)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return i, fmt.Errorf("make an image: %w; see %s", err, log.Name())
	}
	old, err := filepath.Glob(filepath.Join(cache, "vm-????????????????"))
	if err == nil {
		err = os.Rename(tmp, i.dir)
	}
	for _, dir := range old { // nobody will ask for it, and nobody uses it while we have the lock
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return i, fmt.Errorf("make an image: %w", err)
	}
	return i, nil
}

// payload makes a disk of the files, by their names there. A machine finds it at
// /payload.
func payload(ctx context.Context, disk string, files map[string]string) (err error) {
	staging, err := os.MkdirTemp(filepath.Dir(disk), "payload-")
	if err != nil {
		return fmt.Errorf("make the payload: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	size := int64(64 << 20) // of the file system itself
	for name, from := range files {
		fi, err := os.Stat(from)
		if err != nil {
			return fmt.Errorf("make the payload: %w", err)
		}
		size += fi.Size() * 11 / 10
		to := filepath.Join(staging, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return fmt.Errorf("make the payload: %w", err)
		}
		if os.Link(from, to) == nil {
			continue // nothing writes to it
		}
		if out, err := exec.CommandContext(ctx, "cp", "--dereference", from, to).CombinedOutput(); err != nil {
			return fmt.Errorf("make the payload: %w: %s", err, out)
		}
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-L", "payload", "-d", staging, disk, fmt.Sprintf("%dK", size>>10)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the payload: %w: %s", err, out)
	}
	return nil
}
