package identity

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// await calls try now and whenever something changes at one of the paths or on
// the way to it, until it returns true or ctx ends.
func await(ctx context.Context, paths []string, try func() bool) error {
	if try() {
		return nil
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	defer func() { _ = w.Close() }() // it only watched
	for {
		for _, path := range paths {
			if err := follow(w, filepath.Dir(path)); err != nil {
				return err
			}
		}
		if try() { // after the watch was set: nothing falls in between
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-w.Errors:
			return fmt.Errorf("watch: %w", err)
		case <-w.Events:
		}
	}
}

// follow watches dir, or the nearest directory above it that exists. Watching
// one more than needed only costs a look.
func follow(w *fsnotify.Watcher, dir string) error {
	for {
		err := w.Add(dir)
		if err == nil {
			return nil
		}
		if !os.IsNotExist(err) || dir == filepath.Dir(dir) {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}
