// Package atomicfile replaces files so that a reader, or a machine that loses
// power, sees the old content or the new one and never a part of either.
//
// It decides nothing about content or ownership: callers name path, bytes and
// mode.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Write replaces path with data and mode, as [Stream] does.
func Write(path string, data []byte, mode os.FileMode) error {
	return Stream(path, mode, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Stream replaces path with what fill writes, and mode: a temporary file in the
// same directory, fsync, rename, fsync of the directory. Missing parent
// directories are made with mode 0755. On error, fill's among them, path holds
// its old content, unless only the last fsync failed: then it holds the new one.
// What fill may look at under the temporary name is complete when it returns.
func Stream(path string, mode os.FileMode, fill func(*os.File) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	// The leading dot keeps watchers of manifest directories from reading it.
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".tmp*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = complete(f, mode, fill)
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return nil
}

// complete fills, syncs and closes f.
func complete(f *os.File, mode os.FileMode, fill func(*os.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Leftovers returns what was being written to take the place of path by processes
// that were killed meanwhile.
func Leftovers(path string) ([]string, error) {
	dir, base := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var left []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+base+".tmp") {
			left = append(left, filepath.Join(dir, e.Name()))
		}
	}
	return left, nil
}
