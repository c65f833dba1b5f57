package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Run registers what is in the directory and what comes into it, until ctx
// ends. It fails only if the directory cannot be made or watched.
func (w *Watcher) Run(ctx context.Context) error {
	if err := os.MkdirAll(w.o.Dir, 0o755); err != nil {
		return fmt.Errorf("make directory of plugins: %w", err)
	}
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch directory of plugins: %w", err)
	}
	defer func() { _ = watch.Close() }() // nothing is written to it
	if err := watch.Add(w.o.Dir); err != nil {
		return fmt.Errorf("watch directory of plugins: %w", err)
	}
	var life sync.WaitGroup
	defer life.Wait()
	w.scan(ctx, &life, watch, w.o.Dir)
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-watch.Events:
			w.hear(ctx, &life, watch, e)
		case err := <-watch.Errors:
			w.o.Log.LogAttrs(ctx, slog.LevelWarn, "watch directory of plugins", slog.Any("err", err))
			if errors.Is(err, fsnotify.ErrEventOverflow) { // who knows what was missed
				w.scan(ctx, &life, watch, w.o.Dir)
			}
		}
	}
}

// hear acts on one event of the directory.
func (w *Watcher) hear(ctx context.Context, life *sync.WaitGroup, watch *fsnotify.Watcher, e fsnotify.Event) {
	switch {
	case e.Has(fsnotify.Create):
		w.drop(e.Name) // it was replaced, maybe by something else
		w.see(ctx, life, watch, e.Name)
	case e.Has(fsnotify.Remove), e.Has(fsnotify.Rename):
		w.drop(e.Name)
	}
}

// see looks at what was made: a socket is taken up, a directory watched.
func (w *Watcher) see(ctx context.Context, life *sync.WaitGroup, watch *fsnotify.Watcher, path string) {
	if strings.HasPrefix(filepath.Base(path), ".") {
		return
	}
	fi, err := os.Stat(path)
	if err != nil { // gone already, which is told next
		return
	}
	switch {
	case fi.IsDir():
		if err := watch.Add(path); err != nil {
			w.o.Log.LogAttrs(ctx, slog.LevelWarn, "watch directory of plugins", slog.String("path", path), slog.Any("err", err))
		}
		w.scan(ctx, life, watch, path)
	case fi.Mode()&fs.ModeSocket != 0:
		w.take(ctx, life, path)
	}
}

// scan looks at all that is in a directory, and drops what no longer is.
func (w *Watcher) scan(ctx context.Context, life *sync.WaitGroup, watch *fsnotify.Watcher, dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		w.o.Log.LogAttrs(ctx, slog.LevelWarn, "list plugins", slog.String("path", dir), slog.Any("err", err))
		return
	}
	for path := range w.socks {
		if _, err := os.Lstat(path); filepath.Dir(path) == dir && errors.Is(err, fs.ErrNotExist) {
			w.drop(path)
		}
	}
	for _, e := range entries {
		w.see(ctx, life, watch, filepath.Join(dir, e.Name()))
	}
}

// take has a socket registered, unless it is being already.
func (w *Watcher) take(ctx context.Context, life *sync.WaitGroup, path string) {
	before := w.socks[path]
	if before != nil && !before.gone() {
		return
	}
	s := newSocket(w, path)
	w.socks[path] = s
	life.Go(func() {
		defer close(s.over)
		if before != nil {
			<-before.over
		}
		s.run(ctx)
	})
}

// drop lets go of the socket at a path, and of those below it.
func (w *Watcher) drop(path string) {
	for p, s := range w.socks {
		if p == path || strings.HasPrefix(p, path+"/") {
			s.remove()
			if s.ended() {
				delete(w.socks, p)
			}
		}
	}
}
