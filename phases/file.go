package phases

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// planFile returns the change that makes path hold data, none if it does.
func planFile(path string, data []byte, mode os.FileMode) ([]Change, error) {
	have, err := os.ReadFile(path)
	verb := "rewrite "
	switch {
	case errors.Is(err, fs.ErrNotExist):
		verb = "write "
	case err != nil:
		return nil, err
	case bytes.Equal(have, data):
		return nil, nil
	}
	return []Change{{verb + path, func(context.Context) error {
		return atomicfile.Write(path, data, mode)
	}}}, nil
}

// planDir returns the change that makes path a directory only root may enter,
// none if there is a directory.
func planDir(path string) ([]Change, error) {
	fi, err := os.Stat(path)
	switch {
	case err == nil && fi.IsDir():
		return nil, nil
	case err == nil:
		return nil, hint.With(&fs.PathError{Op: "use", Path: path, Err: errors.New("not a directory")}, "move what is there out of the way")
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return []Change{{"create " + path, func(context.Context) error { return os.MkdirAll(path, 0o700) }}}, nil
}
