package engine

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"boot.internal/atomicfile"
	"boot.internal/hint"
)

// What compressed archives begin with.
const (
	gzipMagic = "\x1f\x8b"
	zstdMagic = "\x28\xb5\x2f\xfd"
)

// Keep puts an archive among those of a directory, from where engines get their
// images whenever they start; dir "" is ImagesDir. It is verified as a whole and
// only then gets its name: what is cut off leaves nothing. Name is what to call it;
// its extension is made to fit the content. It returns where the archive is and
// which images it has.
func (e *Engine) Keep(ctx context.Context, r io.Reader, dir, name string) (at string, names []string, err error) {
	if dir == "" {
		dir = e.o.ImagesDir()
	}
	in := bufio.NewReader(readFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}))
	magic, err := in.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) { // one that is too short is refused as an archive
		return "", nil, fmt.Errorf("read image archive: %w", err)
	}
	at = filepath.Join(dir, archiveName(name, magic))
	err = atomicfile.Stream(at, 0o644, func(f *os.File) error {
		if _, err := io.Copy(f, in); err != nil {
			return err
		}
		names, err = e.verify(ctx, f.Name())
		return err
	})
	if err != nil {
		return "", nil, hint.With(fmt.Errorf("refuse image archive %s: %w", name, err), "nothing was imported; see to the archive being whole: copy it or build it again")
	}
	return at, names, nil
}

// verify reads all of an archive and returns which images it has.
func (e *Engine) verify(ctx context.Context, path string) ([]string, error) {
	a, err := openArchive(ctx, path, filepath.Join(e.o.root(), "tmp"))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, im := range a.images {
		names = append(names, im.name)
	}
	return names, a.close()
}

// archiveName gives a name the extension by which archives are known.
func archiveName(name string, magic []byte) string {
	name = strings.TrimLeft(filepath.Base(name), ".")
	for _, ext := range []string{".gz", ".tgz", ".zst", ".tar"} {
		name = strings.TrimSuffix(name, ext)
	}
	switch {
	case strings.HasPrefix(string(magic), gzipMagic):
		return name + ".tar.gz"
	case string(magic) == zstdMagic:
		return name + ".tar.zst"
	}
	return name + ".tar"
}

// Import has the engine, which must answer, import one archive, as an Importer does
// with all of a directory. Report may be nil.
func (e *Engine) Import(ctx context.Context, archive string, report func(Imported)) error {
	i := e.NewImporter(filepath.Dir(archive), report)
	i.only = archive
	return i.Run(ctx)
}

// Answers returns why the engine does not answer right now, or nil.
func (e *Engine) Answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := answers(ctx, e.socket, false)
	return err
}

// Archives returns which archives in a directory have which images, as their indexes
// say; nothing is verified. Dir "" is ImagesDir. What cannot be read is in the error,
// beside what can.
func (e *Engine) Archives(dir string) (map[string][]string, error) {
	if dir == "" {
		dir = e.o.ImagesDir()
	}
	paths, err := (&Importer{dir: dir}).archives()
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	var unread []error
	for _, path := range paths {
		names, err := archiveNames(path)
		if err != nil {
			unread = append(unread, fmt.Errorf("read image archive %s: %w", path, err))
			continue
		}
		all[path] = names
	}
	return all, errors.Join(unread...)
}

// archiveNames reads the index of an archive and no more of it than needed.
func archiveNames(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	plain, done, err := plainReader(f)
	if err != nil {
		return nil, err
	}
	defer done()
	index, err := findIndex(tar.NewReader(plain))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range index.Manifests {
		if name := imageName(m.Annotations); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// plainReader returns a reader of what is in f, compressed or not. Of a file that is
// not compressed, what is skipped is not read.
func plainReader(f *os.File) (r io.Reader, done func(), err error) {
	magic := make([]byte, len(zstdMagic))
	if _, err := f.ReadAt(magic, 0); err != nil {
		return nil, nil, fmt.Errorf("not a whole archive: %w", err)
	}
	switch {
	case strings.HasPrefix(string(magic), gzipMagic):
		z, err := gzip.NewReader(f)
		return z, func() {}, err
	case string(magic) == zstdMagic:
		z, err := zstd.NewReader(f)
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return f, func() {}, nil
}

func findIndex(tr *tar.Reader) (*ocispec.Index, error) {
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("not an OCI image archive: no index.json in it")
		}
		if err != nil {
			return nil, fmt.Errorf("not a whole tar file: %w", err)
		}
		if path.Clean(hdr.Name) != ocispec.ImageIndexFile {
			continue
		}
		var index ocispec.Index
		if err := json.NewDecoder(io.LimitReader(tr, jsonLimit)).Decode(&index); err != nil {
			return nil, fmt.Errorf("read index.json: %w", err)
		}
		return &index, nil
	}
}
