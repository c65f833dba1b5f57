// Package backup is one archive of all that a control plane is made of: a tar,
// compressed with zstd, whose first entry says what it is of, and whose last says
// what every other has to be.
//
// The package decides how an archive is laid out and when it is whole. What belongs
// into one, and where that goes, is left to the caller. Nothing in an archive is
// encrypted: it holds the keys of the cluster.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"boot.internal/hint"
)

// The entries that every archive has.
const (
	aboutName = "backup.json"    // the first: About
	sumsName  = "checksums.json" // the last: of all others
)

// format is the layout of an archive. A reader knows those up to its own.
const format = 1

// maxEntries and maxNote bound what is read into memory of an archive that may be
// anybody's.
const (
	maxEntries = 100_000
	maxNote    = 16 << 20
)

// ErrBroken reports an archive that was cut off, changed, or is none.
var ErrBroken = errors.New("the archive is not whole")

// About says what an archive is of.
type About struct {
	Format int       `json:"format"`
	Taken  time.Time `json:"taken"`
	// Node and Address are those of the control plane.
	Node    string `json:"node"`
	Address string `json:"address"`
	// Boot and Kubernetes are the versions of what made it.
	Boot       string `json:"boot"`
	Kubernetes string `json:"kubernetes"`
}

// A sum is what an entry has to be.
type sum struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// A Writer writes an archive. It is not whole before Close.
type Writer struct {
	z    *zstd.Encoder
	tar  *tar.Writer
	sums []sum
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, about About) (*Writer, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	b := &Writer{z: z, tar: tar.NewWriter(z)}
	about.Format = format
	return b, b.note(aboutName, about)
}

// note adds an entry of JSON.
func (b *Writer) note(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return b.add(name, int64(len(data)), 0o600, strings.NewReader(string(data)))
}

// Add adds a file under a name: relative, with slashes.
func (b *Writer) Add(name, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	if err := b.add(name, fi.Size(), fi.Mode().Perm(), io.LimitReader(f, fi.Size())); err != nil {
		return fmt.Errorf("add %s: %w", file, err)
	}
	return nil
}

func (b *Writer) add(name string, size int64, mode fs.FileMode, r io.Reader) error {
	if err := b.tar.WriteHeader(&tar.Header{Name: name, Size: size, Mode: int64(mode), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(b.tar, h), r); err != nil {
		return err
	}
	b.sums = append(b.sums, sum{name, size, digest(h)})
	return nil
}

// Close ends the archive. The writer below stays open.
func (b *Writer) Close() error {
	return errors.Join(b.note(sumsName, b.sums), b.tar.Close(), b.z.Close())
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// An Archive is one that was read whole.
type Archive struct {
	About
	// Digest identifies the content: it is that of the checksums of all entries.
	Digest string
	// Dir has the files, under their names.
	Dir string
	// Files are the names, in the order of the archive.
	Files []string
}

// Extract reads an archive to its end, puts what is in it into a directory that is
// empty, and verifies all of it. The error wraps [ErrBroken] if it is not whole.
func Extract(r io.Reader, dir string) (*Archive, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, broken(err)
	}
	defer z.Close()
	x := &extraction{Archive{Dir: dir}, map[string]sum{}, tar.NewReader(z)}
	if err := x.about(); err != nil {
		return nil, err
	}
	for len(x.Files) < maxEntries {
		h, err := x.tar.Next()
		if err != nil {
			return nil, broken(err)
		}
		if h.Name == sumsName {
			return x.finish()
		}
		if err := x.file(h); err != nil {
			return nil, err
		}
	}
	return nil, broken(errors.New("it has too many entries"))
}

func broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return hint.With(fmt.Errorf("%w: %w", ErrBroken, err), "nothing has been changed; it takes an archive of 'boot backup'")
}

// An extraction is an archive while it is read.
type extraction struct {
	Archive
	have map[string]sum
	tar  *tar.Reader
}

// about reads the first entry.
func (x *extraction) about() error {
	h, err := x.tar.Next()
	if err != nil {
		return broken(err)
	}
	data, err := io.ReadAll(io.LimitReader(x.tar, maxNote))
	if err != nil {
		return broken(err)
	}
	if h.Name != aboutName || json.Unmarshal(data, &x.About) != nil {
		return broken(errors.New("it does not say what it is of"))
	}
	if x.Format > format {
		return hint.With(fmt.Errorf("the archive is of format %d, and this boot knows up to %d", x.Format, format), "use the boot that made it, or a newer one")
	}
	s := sha256.Sum256(data)
	x.have[aboutName] = sum{aboutName, int64(len(data)), hex.EncodeToString(s[:])}
	return nil
}

// file writes an entry below the directory, and nowhere else.
func (x *extraction) file(h *tar.Header) (err error) {
	if h.Typeflag != tar.TypeReg || !filepath.IsLocal(h.Name) || path.Clean(h.Name) != h.Name {
		return broken(fmt.Errorf("%q does not belong there", h.Name))
	}
	if _, twice := x.have[h.Name]; twice {
		return broken(fmt.Errorf("%q is there twice", h.Name))
	}
	to := filepath.Join(x.Dir, filepath.FromSlash(h.Name))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode().Perm()&0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(diskWriter{f}, hash), x.tar)
	if onDisk := (diskError{}); errors.As(err, &onDisk) {
		return hint.With(onDisk.error, "nothing has been changed; make room for the archive to be unpacked")
	}
	if err != nil {
		return broken(err)
	}
	x.have[h.Name] = sum{h.Name, n, digest(hash)}
	x.Files = append(x.Files, h.Name)
	return f.Sync()
}

// A diskWriter tells its own errors from those of the archive.
type diskWriter struct{ f *os.File }

type diskError struct{ error }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		return n, diskError{err}
	}
	return n, nil
}

// finish compares what there is with what there has to be.
func (x *extraction) finish() (*Archive, error) {
	data, err := io.ReadAll(io.LimitReader(x.tar, maxNote))
	if err != nil {
		return nil, broken(err)
	}
	var want []sum
	if err := json.Unmarshal(data, &want); err != nil {
		return nil, broken(err)
	}
	for _, s := range want {
		if x.have[s.Name] != s {
			return nil, broken(fmt.Errorf("%s is not what it was", s.Name))
		}
		delete(x.have, s.Name)
	}
	if len(x.have) > 0 {
		return nil, broken(errors.New("it has entries that were added"))
	}
	if _, err := x.tar.Next(); !errors.Is(err, io.EOF) {
		return nil, broken(errors.New("it goes on after its end"))
	}
	s := sha256.Sum256(data)
	x.Digest = hex.EncodeToString(s[:])
	return &x.Archive, nil
}

// Path is where a file of the archive is.
func (a *Archive) Path(name string) string { return filepath.Join(a.Dir, filepath.FromSlash(name)) }
