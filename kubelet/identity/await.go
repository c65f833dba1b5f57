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
			if err := follow(w.Add, filepath.Dir(path)); err != nil {
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
func follow(watch func(dir string) error, dir string) error {
	for {
		watched, err := nearest(watch, dir)
		if err != nil || watched == dir {
			return err
		}
		// What was made below before the watch was set tells nobody of itself.
		if _, err := os.Stat(below(watched, dir)); os.IsNotExist(err) {
			return nil
		}
	}
}

// nearest watches dir or else the nearest directory above it that there is, and
// returns which.
func nearest(watch func(dir string) error, dir string) (string, error) {
	for {
		err := watch(dir)
		if err == nil {
			return dir, nil
		}
		if !os.IsNotExist(err) || dir == filepath.Dir(dir) {
			return "", fmt.Errorf("watch %s: %w", dir, err)
		}
		dir = filepath.Dir(dir)
	}
}

// below returns the directory on the way from above to dir that lies in above.
func below(above, dir string) string {
	for filepath.Dir(dir) != above {
		dir = filepath.Dir(dir)
	}
	return dir
}
