package phases

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"boot.internal/atomicfile"
)

// An asides is copies of files that a pod reads at its start, from before they
// were changed: if the pod does not get well with the new ones, these come back.
// That of nil has none.
type asides struct {
	dir   string
	paths []string
}

// copyOf tells files of etcd from those of the same name.
func (a *asides) copyOf(path string) string {
	name := filepath.Base(path)
	if dir := filepath.Base(filepath.Dir(path)); dir == "etcd" {
		name = dir + "-" + name
	}
	return filepath.Join(a.dir, name)
}

// keep returns the change that copies a file, none if it is not among those that
// come back. A copy that is there is of the time before a run that was killed.
func (a *asides) keep(path string) ([]Change, error) {
	if !slices.Contains(a.paths, path) {
		return nil, nil
	}
	_, err := os.Stat(a.copyOf(path))
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return []Change{{"keep " + path + " in " + a.copyOf(path), func(context.Context) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return atomicfile.Write(a.copyOf(path), data, 0o600)
	}}}, nil
}

// putBack puts the copies in the places of the files.
func (a *asides) putBack() error {
	return a.each(func(path string, data []byte) error {
		mode := os.FileMode(0o600)
		if filepath.Ext(path) == ".crt" {
			mode = 0o644 // whoever reads certificates need not be root
		}
		return atomicfile.Write(path, data, mode)
	})
}

// forget removes the copies.
func (a *asides) forget() error {
	return a.each(func(path string, _ []byte) error { return os.Remove(a.copyOf(path)) })
}

func (a *asides) each(do func(path string, data []byte) error) error {
	if a == nil {
		return nil
	}
	var errs []error
	for _, path := range a.paths {
		data, err := os.ReadFile(a.copyOf(path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = do(path, data)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
