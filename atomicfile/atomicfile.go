// Package atomicfile replaces files so that a reader, or a machine that loses
// power, sees the old content or the new one and never a part of either.
//
// It decides nothing about content or ownership: callers name path, bytes and
// mode.
package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
// What fill has written it may look at by the name of the file, in this process.
// What was being written to path by processes that were killed is removed.
func Stream(path string, mode os.FileMode, fill func(*os.File) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	sweep(path)
	t, err := create(path)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = complete(t.File, mode, fill)
	if err == nil {
		err = t.replace(path)
	}
	if err := errors.Join(err, t.close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync directory of %s: %w", path, err)
	}
	return nil
}

// complete fills and syncs f.
func complete(f *os.File, mode os.FileMode, fill func(*os.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
