package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sync/errgroup"

	"boot.internal/filelock"
	"boot.internal/hint"
)

// namespace is where CRI keeps its images and containers.
const namespace = "k8s.io"

// Imported says that an image has become usable.
type Imported struct {
	Image   string
	Archive string // path
	Took    time.Duration
	Since   time.Time // when its turn came
	// ReadFrom and ReadTo are when its archive was read and checked, zero if it
	// did not have to be.
	ReadFrom, ReadTo time.Time
}

// An Importer gives the engine the images that lie in a directory as OCI
// archives: *.tar, *.tar.gz and *.tar.zst, whose names do not begin with a dot.
//
// An archive is verified as a whole before the engine gets anything of it, and
// an image gets its name there after everything it is made of. So what is
// damaged or still being copied is refused, never half-imported, and an import
// that was killed starts again. What the engine already has is not read again.
type Importer struct {
	e      *Engine
	dir    string
	only   string // path of the one archive to import; "" for all
	report func(Imported)
	turns  *turns

	over  chan struct{} // closed when Run has returned
	moved atomic.Int64  // steps that were done: archives read, blobs written, images made usable

	mu   sync.Mutex
	come map[string]chan struct{} // per image, closed when it is usable
}

// NewImporter prepares the import of the archives in dir; "" is ImagesDir. From
// now on Await waits for Run. Report may be nil; it is called for each image as
// it becomes usable, by several goroutines.
func (e *Engine) NewImporter(dir string, report func(Imported)) *Importer {
	if dir == "" {
		dir = e.o.ImagesDir()
	}
	if report == nil {
		report = func(Imported) {}
	}
	return &Importer{
		e: e, dir: dir, report: report,
		turns: newTurns(max(2, runtime.NumCPU())),
		over:  make(chan struct{}),
		come:  map[string]chan struct{}{},
	}
}

// stalled is how long an import may take for one step. One that takes longer has
// lost its disk.
const stalled = 10 * time.Minute

// Await returns once the image is usable or no archive can bring it any more.
// It is how a puller leaves the network alone while an import is under way, however
// slow that is; one that does not get on is an error.
func (i *Importer) Await(ctx context.Context, image string) error {
	usable := i.usable(image)
	for {
		before := i.moved.Load()
		select {
		case <-usable:
			return nil
		case <-i.over:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for the import of %s: %w", image, ctx.Err())
		case <-time.After(stalled):
			if i.moved.Load() == before {
				return fmt.Errorf("wait for the import of %s: no import got on for %s", image, stalled)
			}
		}
	}
}

// usable returns a channel that is closed once the image is usable.
func (i *Importer) usable(image string) <-chan struct{} {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.coming(image)
}

// coming is called with mu held.
func (i *Importer) coming(image string) chan struct{} {
	c, ok := i.come[image]
	if !ok {
		c = make(chan struct{})
		i.come[image] = c
	}
	return c
}

func (i *Importer) announce(im Imported) {
	i.moved.Add(1)
	i.mu.Lock()
	c := i.coming(im.Image)
	select {
	case <-c: // another archive has it, too
	default:
		close(c)
	}
	i.mu.Unlock()
	i.report(im)
}

// Run imports what the engine, which must answer, does not have yet. Images
// that others wait for come first. Several processes may run at once: they take
// turns, and the later ones find nothing left to do. The error names every
// archive refused and why; the others have been imported.
func (i *Importer) Run(ctx context.Context) error {
	defer close(i.over)
	paths, err := i.archives()
	if err != nil || len(paths) == 0 {
		return err
	}
	l, err := filelock.Take(ctx, filepath.Join(i.e.o.RunDir, "import.lock"))
	if err != nil {
		return err
	}
	defer l.Release()
	ctx = namespaces.WithNamespace(ctx, namespace)
	t, err := newTarget(ctx, i.e.socket)
	if err != nil {
		return hint.With(fmt.Errorf("import images into the engine at %s: %w", i.e.socket, err),
			"only containerd can import archives; empty "+i.dir+" to have images pulled")
	}
	defer func() { _ = t.client.Close() }()
	t.moved = func() { i.moved.Add(1) }
	return i.all(ctx, t, paths)
}

// archives lists the directory, the most urgent first.
func (i *Importer) archives() ([]string, error) {
	if i.only != "" {
		return []string{i.only}, nil
	}
	entries, err := os.ReadDir(i.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list image archives: %w", err)
	}
	var paths []string
	for _, entry := range entries {
		if isArchive(entry.Name()) && !entry.IsDir() {
			paths = append(paths, filepath.Join(i.dir, entry.Name()))
		}
	}
	slices.SortStableFunc(paths, func(a, b string) int {
		return urgency(filepath.Base(a)) - urgency(filepath.Base(b))
	})
	return paths, nil
}

func isArchive(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	return slices.ContainsFunc([]string{".tar", ".tar.gz", ".tar.zst"}, func(ext string) bool {
		return strings.HasSuffix(name, ext)
	})
}

// urgency ranks an image or archive by its name: the start of a control plane
// waits for etcd, whose sandbox waits for pause, then for the API server.
func urgency(name string) int {
	order := []string{"etcd", "pause", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"}
	for rank, part := range order {
		if strings.Contains(name, part) {
			return rank
		}
	}
	return len(order)
}

// apiServerRank is the last that the start of an API server waits for.
const apiServerRank = 2

// all imports the archives side by side and goes on where one is refused.
func (i *Importer) all(ctx context.Context, t *target, paths []string) error {
	known, err := readImports(i.e.o.importsPath())
	if err != nil {
		return err
	}
	var group errgroup.Group
	refused := make([]error, len(paths))
	for n, path := range paths {
		w := i.turns.line(urgency(filepath.Base(path)))
		group.Go(func() error {
			if refused[n] = i.turns.wait(ctx, w); refused[n] == nil {
				refused[n] = i.one(ctx, t, path, known, w)
			}
			return nil
		})
	}
	_ = group.Wait() // errors are in refused
	return errors.Join(refused...)
}

// one imports one archive. It is called in the turn w and ends it.
func (i *Importer) one(ctx context.Context, t *target, path string, known *imports, w *turn) error {
	begin := time.Now()
	fi, err := os.Stat(path)
	if err == nil && t.has(ctx, known.images(path, fi)) {
		i.turns.end(w)
		for name := range known.images(path, fi) {
			i.announce(Imported{Image: name, Archive: path, Took: time.Since(begin), Since: begin})
		}
		return nil
	}
	var a *archive
	if err == nil {
		a, err = verified(ctx, path, fi, filepath.Join(i.e.o.root(), "tmp"))
	}
	if err != nil {
		i.turns.end(w)
		return hint.With(fmt.Errorf("refuse image archive %s: %w", path, err), "copy or build the archive again, or remove it")
	}
	defer func() { _ = a.close() }()
	a.readFrom, a.readTo = begin, time.Now()
	t.moved()
	if err := i.images(ctx, t, a, path, w); err != nil {
		return err
	}
	return known.add(path, fi, a.images)
}

// verified opens an archive that has not changed since it was looked at.
func verified(ctx context.Context, path string, before os.FileInfo, tmp string) (*archive, error) {
	a, err := openArchive(ctx, path, tmp)
	if err != nil {
		return nil, err
	}
	after, err := os.Stat(path)
	if err == nil && (after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime())) {
		err = errors.New("it is still being written")
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// images imports the archive's images side by side. Their turns stand in line
// before that of the archive ends, so that nothing less urgent slips in between.
func (i *Importer) images(ctx context.Context, t *target, a *archive, path string, before *turn) error {
	slices.SortStableFunc(a.images, func(x, y archived) int { return urgency(x.name) - urgency(y.name) })
	group, ctx := errgroup.WithContext(ctx)
	for _, im := range a.images {
		w := i.turns.line(urgency(im.name))
		group.Go(func() error {
			if err := i.turns.wait(ctx, w); err != nil {
				return err
			}
			defer i.turns.end(w)
			begin := time.Now()
			if err := t.put(ctx, a, im); err != nil {
				return fmt.Errorf("import %s from %s: %w", im.name, path, err)
			}
			i.announce(Imported{Image: im.name, Archive: path, Took: time.Since(begin), Since: begin, ReadFrom: a.readFrom, ReadTo: a.readTo})
			return nil
		})
	}
	i.turns.end(before)
	return group.Wait()
}
