// Package bundled carries the container engine inside the binary: containerd,
// its shim, runc and the CNI plugins as engine.tar.zst, which the build puts
// into this directory and git does not keep.
//
// It decides nothing: engine unpacks and runs what is here.
package bundled

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

const (
	archive = "engine.tar.zst"
	sum     = archive + ".sha256"
)

// The pattern also matches engine.md, so that a checkout without the archive
// compiles.
//
//go:embed engine*
var files embed.FS

// ErrNone reports a build that carries no engine.
var ErrNone = errors.New("this build of boot carries no container engine")

// Open returns the archive. Close it after use.
func Open() (io.ReadCloser, error) { return open(files) }

// Sum returns the hexadecimal SHA-256 of the archive as the build noted it, and
// "" if it did not. Knowing it spares every start from paging the archive in.
func Sum() string { return readSum(files) }

func open(files fs.FS) (io.ReadCloser, error) {
	f, err := files.Open(archive)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("open the bundled engine: %w", err)
	}
	return f, nil
}

func readSum(files fs.FS) string {
	data, err := fs.ReadFile(files, sum)
	if err != nil {
		return ""
	}
	hex, _, _ := bytes.Cut(bytes.TrimSpace(data), []byte(" "))
	return string(hex)
}
