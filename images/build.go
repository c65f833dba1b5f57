package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"boot.internal/images/pack"
)

// An order says what to build and where to leave it.
type order struct {
	src      string // this module's source
	dir      string // to be filled
	versions Versions
	upstream bool
}

// sumsName is the index of a directory. It is written last: a directory that
// has one is complete.
const sumsName = "SHA256SUMS"

// build fills the directory. Builds in one cache take turns, so that two of
// them share their work instead of doing it twice.
func build(ctx context.Context, o order, out io.Writer) error {
	epoch, err := o.versions.Epoch()
	if err != nil {
		return err
	}
	cache := filepath.Dir(o.dir)
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	p := newProgress(out)
	unlock, err := lock(filepath.Join(cache, "lock"), p)
	if err != nil {
		return err
	}
	defer unlock()

	beating, still := context.WithCancel(ctx)
	defer still()
	go p.beat(beating)

	s := &shop{order: o, cache: cache, epoch: epoch, progress: p}
	if err := s.sweep(); err != nil {
		return err
	}
	if err := s.runAll(ctx, steps(o.upstream)); err != nil {
		return err
	}
	if err := s.run(ctx, bundle(o.versions)); err != nil {
		return err
	}
	if err := s.writeSums(); err != nil {
		return fmt.Errorf("write %s: %w", sumsName, err)
	}
	p.note("all is in %s", o.dir)
	return nil
}

// lock waits for its turn. The kernel frees the lock of a build that is killed.
func lock(name string, p *progress) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	fd := int(f.Fd())
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		p.note("waiting for another build in %s", filepath.Dir(name))
		if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
	return func() { _ = f.Close() }, nil
}

// A shop is where steps are carried out.
type shop struct {
	order
	cache    string // the parent of dir, and of its siblings
	epoch    time.Time
	progress *progress
}

// A step makes some of the files.
type step struct {
	name    string
	sources sources // what decides what it makes, beside what all steps share
	make    func(context.Context, *bench) error
}

// A bench is where one step works.
type bench struct {
	*shop
	work  string // for anything
	stage string // laid out like the final directory, which receives all of it
}

// runAll runs the steps in order, as many at a time as there are cores.
func (s *shop) runAll(ctx context.Context, all []step) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU())
	for _, st := range all {
		group.Go(func() error { return s.run(ctx, st) })
	}
	return group.Wait()
}

// run carries out a step unless it has been before, here or in a sibling.
func (s *shop) run(ctx context.Context, st step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := s.recordOf(st)
	if err != nil {
		return err
	}
	if r.done(s.dir) {
		return nil
	}
	if old := r.find(s.cache); old != "" {
		s.progress.note("%s is as in %s", st.name, filepath.Base(old))
		return r.linkFrom(old, s.dir)
	}
	return s.progress.track(st.name, func() error { return s.perform(ctx, st, r) })
}

func (s *shop) perform(ctx context.Context, st step, r record) error {
	work, err := os.MkdirTemp(s.dir, workPrefix+st.name+"-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what stays behind is swept by the next build
	b := &bench{shop: s, work: filepath.Join(work, "work"), stage: filepath.Join(work, "stage")}
	for _, dir := range []string{b.work, b.stage} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := st.make(ctx, b); err != nil {
		return fmt.Errorf("make %s: %w", st.name, err)
	}
	return r.settle(b.stage, s.dir)
}

// workPrefix begins the names of directories that hold unfinished work.
const workPrefix = ".work-"

// sweep removes what killed builds left behind.
func (s *shop) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, workPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// compile builds programs and returns the directory that holds them.
func (b *bench) compile(ctx context.Context, c Build) (string, error) {
	out := filepath.Join(b.work, c.Wrapper.Dir)
	return out, c.Run(ctx, b.src, out)
}

// ship moves a program to its place among the outputs.
func (b *bench) ship(program, name string) error {
	target := filepath.Join(b.stage, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.Link(program, target)
}

// archive packs an image.
func (b *bench) archive(r pack.Recipe) error {
	r.Created = b.epoch
	return b.write(archivePath(r.Name), r.WriteArchive)
}

// extra packs an image that is for tests alone.
func (b *bench) extra(r pack.Recipe) error {
	r.Created = b.epoch
	return b.write(extraPath(r.Name), r.WriteArchive)
}

// write makes an output and notes its digest beside it.
func (b *bench) write(name string, content func(io.Writer) error) error {
	target := filepath.Join(b.stage, name)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.Create(target)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // closed below, where it matters
	if err := content(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	sum, err := digestFile(target)
	if err != nil {
		return err
	}
	line := sum + "  " + filepath.Base(name) + "\n"
	return os.WriteFile(target+sumSuffix, []byte(line), 0o644)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
