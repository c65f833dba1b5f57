package engine

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An archive is an OCI image layout in a tar file, verified: every blob has the
// digest it is named after, and every image for this platform is complete.
type archive struct {
	r      io.ReaderAt
	close  func() error
	blobs  map[digest.Digest]section
	index  []byte // index.json
	layout bool   // oci-layout was there
	images []archived

	readFrom, readTo time.Time
}

// section is where a blob lies in the archive.
type section struct{ offset, size int64 }

// archived is one image of an archive.
type archived struct {
	name   string
	target ocispec.Descriptor
	blobs  []ocispec.Descriptor // target and all it is made of, target first
}

// openArchive reads and verifies the archive. A compressed one is unpacked into
// a nameless file in tmp, so that every blob can be read on its own.
func openArchive(ctx context.Context, path, tmp string) (*archive, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	plain, err := decompress(ctx, f, tmp)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	a := &archive{r: plain, close: plain.Close, blobs: map[digest.Digest]section{}}
	err = a.scan(ctx, plain)
	if err == nil {
		err = a.readIndex()
	}
	if err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

// scan notes where every blob is and compares it with its name.
func (a *archive) scan(ctx context.Context, f *os.File) error {
	tr := tar.NewReader(f)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not a whole tar file: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if hdr.Typeflag != tar.TypeReg {
			continue
		}
		// The tar reader reads nothing ahead: the file stands at the content.
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if err := a.entry(path.Clean(hdr.Name), section{offset, hdr.Size}, tr); err != nil {
			return fmt.Errorf("entry %s: %w", hdr.Name, err)
		}
	}
}

func (a *archive) entry(name string, at section, r io.Reader) (err error) {
	switch {
	case name == ocispec.ImageLayoutFile:
		a.layout = true
	case name == ocispec.ImageIndexFile:
		a.index, err = io.ReadAll(io.LimitReader(r, jsonLimit))
	case strings.HasPrefix(name, "blobs/sha256/"):
		want := digest.NewDigestFromEncoded(digest.SHA256, path.Base(name))
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		if got := digest.NewDigest(digest.SHA256, h); got != want {
			return fmt.Errorf("the content has digest %s", got)
		}
		a.blobs[want] = at
	}
	return err
}

// open returns the content of a blob that is there.
func (a *archive) open(d digest.Digest) *io.SectionReader {
	at := a.blobs[d]
	return io.NewSectionReader(a.r, at.offset, at.size)
}
