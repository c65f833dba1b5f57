package pack

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An Entry is a file, a directory or a symbolic link in a tree.
type Entry struct {
	Path   string      // slash-separated, relative to the root of the tree
	Mode   fs.FileMode // permissions, and fs.ModeDir or fs.ModeSymlink
	Link   string      // where a symbolic link points
	Source string      // the file on this machine that holds the content; empty for Body
	Body   []byte
	PAX    map[string]string // extended records of its tar header
}

// A Tree is a set of entries, in any order. It needs no entries for parent
// directories: those it lacks are made with mode 0755.
type Tree []Entry

// Executable is an entry with the content of a program on this machine.
func Executable(name, source string) Entry {
	return Entry{Path: name, Mode: 0o755, Source: source}
}

// BindsLowPorts gives a program the file capability to listen on ports below
// 1024 whoever runs it, as `setcap cap_net_bind_service=+ep` would. The program
// then starts only where the container may have that capability.
func (e Entry) BindsLowPorts() Entry {
	const (
		revision2    = 0x02000000
		effective    = 0x000001
		bindServices = 1 << 10
	)
	attr := binary.LittleEndian.AppendUint32(nil, revision2|effective)
	attr = binary.LittleEndian.AppendUint32(attr, bindServices)
	attr = append(attr, make([]byte, 12)...) // inheritable: none; the upper 32: none
	e.PAX = map[string]string{"SCHILY.xattr.security.capability": string(attr)}
	return e
}

// Text is an entry with the given content.
func Text(name, body string) Entry {
	return Entry{Path: name, Mode: 0o644, Body: []byte(body)}
}

// Symlink is an entry that points to target.
func Symlink(name, target string) Entry {
	return Entry{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target}
}

// Dir is an empty directory.
func Dir(name string, mode fs.FileMode) Entry {
	return Entry{Path: name, Mode: fs.ModeDir | mode}
}

// Sticky is a directory in which only the owner of a file may remove it.
func Sticky(name string, mode fs.FileMode) Entry {
	return Dir(name, fs.ModeSticky|mode)
}

// ReadDir makes a tree of the files and links below dir. Owners are dropped:
// all belongs to root, whoever unpacked it.
func ReadDir(dir string) (Tree, error) {
	var t Tree
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		e, err := readEntry(name, filepath.ToSlash(rel), d)
		t = append(t, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", dir, err)
	}
	return t, nil
}

func readEntry(name, target string, d fs.DirEntry) (Entry, error) {
	if d.Type() == fs.ModeSymlink {
		link, err := os.Readlink(name)
		return Symlink(target, link), err
	}
	if !d.Type().IsRegular() {
		return Entry{}, fmt.Errorf("%s is neither a file nor a link", name)
	}
	info, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	return Entry{Path: target, Mode: info.Mode().Perm(), Source: name}, nil
}

// WriteTar writes the tree as a tar stream that depends on the tree's names,
// modes and contents alone: entries are sorted, and all carry the time mtime.
func (t Tree) WriteTar(w io.Writer, mtime time.Time) error {
	entries, err := t.complete()
	if err != nil {
		return err
	}
	tw := tar.NewWriter(w)
	for _, e := range entries {
		if err := e.writeTo(tw, mtime); err != nil {
			return fmt.Errorf("pack %s: %w", e.Path, err)
		}
	}
	return tw.Close()
}

// complete returns the sorted entries with their missing parents, and an error
// if two entries want the same path.
func (t Tree) complete() ([]Entry, error) {
	byPath := make(map[string]Entry, len(t))
	for _, e := range t {
		if !fs.ValidPath(e.Path) || e.Path == "." {
			return nil, fmt.Errorf("pack %q: not a path inside the tree", e.Path)
		}
		if _, dup := byPath[e.Path]; dup {
			return nil, fmt.Errorf("pack %s: listed twice", e.Path)
		}
		byPath[e.Path] = e
	}
	for _, e := range t {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if _, ok := byPath[dir]; !ok {
				byPath[dir] = Dir(dir, 0o755)
			}
		}
	}
	entries := make([]Entry, 0, len(byPath))
	for _, e := range byPath {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries, nil
}

func (e Entry) writeTo(tw *tar.Writer, mtime time.Time) error {
	h := &tar.Header{
		Name: e.Path, Mode: int64(e.Mode.Perm()), ModTime: mtime,
		PAXRecords: e.PAX, Format: tar.FormatPAX, Typeflag: tar.TypeReg,
	}
	if e.Mode&fs.ModeSticky != 0 {
		h.Mode |= 0o1000
	}
	switch e.Mode.Type() {
	case fs.ModeDir:
		h.Name, h.Typeflag = e.Path+"/", tar.TypeDir
		return tw.WriteHeader(h)
	case fs.ModeSymlink:
		h.Linkname, h.Typeflag = e.Link, tar.TypeSymlink
		return tw.WriteHeader(h)
	}
	content, size, err := e.open()
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // it was only read
	h.Size = size
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(tw, content)
	return err
}

func (e Entry) open() (io.ReadCloser, int64, error) {
	if e.Source == "" {
		return io.NopCloser(bytes.NewReader(e.Body)), int64(len(e.Body)), nil
	}
	f, err := os.Open(e.Source)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}
