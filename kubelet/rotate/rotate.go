// Package rotate keeps the logs of running containers small: a log that has
// grown too large is put aside and compressed, and the oldest of those put aside
// go. It decides when and what; how the runtime is told to write on elsewhere is
// left to the runtime.
//
//	0.log                        what is written to
//	0.log.20260102-150405        put aside last, so that who follows can finish it
//	0.log.20260102-140405.gz     older ones
package rotate

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Runtime writes the logs.
type Runtime interface {
	// RunningLogs returns the paths of the logs of running containers, by the
	// container's ID.
	RunningLogs(ctx context.Context) (map[string]string, error)
	// ReopenLog has the runtime write on in a new file.
	ReopenLog(ctx context.Context, id string) error
}

// Options say how large logs may get.
type Options struct {
	Runtime  Runtime
	MaxSize  int64         // bytes at which a log is put aside (containerLogMaxSize); 0 for never
	MaxFiles int           // files per container, with the one written to (containerLogMaxFiles); at least 2
	Workers  int           // how many logs are put aside at a time (containerLogMaxWorkers); 0 is 1
	Interval time.Duration // how often sizes are looked at (containerLogMonitorInterval)
	Log      *slog.Logger
}

// Run keeps logs small until ctx ends. The kernel can tell of every write to a
// file but not of its size, so looking now and then is the cheaper way.
func Run(ctx context.Context, o Options) {
	if o.MaxSize <= 0 {
		return
	}
	tick := time.NewTicker(o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := o.once(ctx, time.Now()); err != nil && ctx.Err() == nil {
			o.Log.LogAttrs(ctx, slog.LevelWarn, "rotate container logs", slog.Any("err", err))
		}
	}
}

// once looks at every log. One that cannot be rotated keeps no other from it.
func (o Options) once(ctx context.Context, now time.Time) error {
	logs, err := o.Runtime.RunningLogs(ctx)
	if err != nil {
		return err
	}
	var all errgroup.Group
	all.SetLimit(max(o.Workers, 1))
	failed := make(chan error, len(logs))
	for id, path := range logs {
		fi, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // not written yet, or gone meanwhile
		case err != nil:
			failed <- err
		case fi.Size() >= o.MaxSize:
			all.Go(func() error { failed <- o.rotate(ctx, id, path, now); return nil })
		}
	}
	_ = all.Wait() // none returns an error
	close(failed)
	var errs []error
	for err := range failed {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// rotate puts a log aside. What was put aside before is dealt with first, so
// that a full disk gets relief before anything is written to it.
func (o Options) rotate(ctx context.Context, id, path string, now time.Time) error {
	if err := o.tidy(path); err != nil {
		return err
	}
	aside := path + "." + now.UTC().Format("20060102-150405")
	if err := os.Rename(path, aside); err != nil {
		return fmt.Errorf("put log aside: %w", err)
	}
	if err := o.Runtime.ReopenLog(ctx, id); err != nil {
		// The runtime writes on in the file that was renamed: give it its name back.
		return errors.Join(err, os.Rename(aside, path))
	}
	return nil
}

// tidy compresses what was put aside before and removes what is too much: of
// MaxFiles one is being written to and one is about to be put aside.
func (o Options) tidy(path string) error {
	old, err := asides(path)
	if err != nil {
		return err
	}
	var failed []error
	for len(old) > max(o.MaxFiles-2, 0) {
		failed = append(failed, os.Remove(old[0]))
		old = old[1:]
	}
	for _, f := range old {
		if !strings.HasSuffix(f, ".gz") {
			failed = append(failed, compress(f))
		}
	}
	return errors.Join(failed...)
}

// asides returns the files put aside for a log, the oldest first. Halves of a
// compression that was killed are removed: what they were made from is there.
func asides(path string) ([]string, error) {
	all, err := filepath.Glob(escape(path) + ".*")
	if err != nil {
		return nil, fmt.Errorf("list rotated logs of %s: %w", path, err)
	}
	var old []string
	for _, f := range all {
		if strings.HasSuffix(f, ".tmp") {
			if err := os.Remove(f); err != nil {
				return nil, fmt.Errorf("remove half of a rotated log: %w", err)
			}
			continue
		}
		old = append(old, f)
	}
	slices.Sort(old)
	return old, nil
}

// escape makes a path mean itself in a pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// compress replaces a file by its compressed self.
func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	defer func() { _ = in.Close() }()
	fi, err := in.Stat()
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	tmp := path + ".tmp"
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fi.Mode().Perm())
	if err != nil {
		return fmt.Errorf("compress log: %w", err)
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	if err = errors.Join(err, z.Close(), out.Close()); err == nil {
		err = os.Rename(tmp, path+".gz")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("compress log: %w", err), os.Remove(tmp))
	}
	return os.Remove(path)
}
