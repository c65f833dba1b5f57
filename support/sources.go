package support

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// logSize is how much of the end of a log is packed.
const logSize = 1 << 20

// JSON is an item that holds a value.
func JSON(name string, value func(ctx context.Context) (any, error)) Item {
	return Item{name, func(ctx context.Context, to io.Writer) error {
		v, err := value(ctx)
		if err != nil {
			return err
		}
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}}
}

// File is an item that holds the end of a file.
func File(name, path string) Item {
	return Item{name, func(_ context.Context, to io.Writer) error { return copyEnd(to, path) }}
}

// Files are items of all files that match a pattern, at most so many, in a
// directory of the archive.
func Files(dir, pattern string, most int) []Item {
	paths, _ := filepath.Glob(pattern) // it is well formed
	var all []Item
	for _, path := range paths {
		if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() && len(all) < most {
			all = append(all, File(dir+"/"+filepath.Base(path), path))
		}
	}
	return all
}

// copyEnd copies the last logSize bytes of a file.
func copyEnd(to io.Writer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if fi, err := f.Stat(); err == nil && fi.Size() > logSize {
		if _, err := f.Seek(-logSize, io.SeekEnd); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(to, "[what comes before is left out]"); err != nil {
			return err
		}
	}
	_, err = io.Copy(to, f)
	return err
}

// Command is an item that holds what a program prints. A program that the host
// does not have has nothing to say.
func Command(name, program string, args ...string) Item {
	return Item{name, func(ctx context.Context, to io.Writer) error {
		cmd := exec.CommandContext(ctx, program, args...)
		var complaint strings.Builder
		cmd.Stdout, cmd.Stderr = to, &complaint
		err := cmd.Run()
		if errors.Is(err, exec.ErrNotFound) {
			return fmt.Errorf("this host has no %s", program)
		}
		if err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, strings.TrimSpace(complaint.String()))
		}
		return nil
	}}
}
