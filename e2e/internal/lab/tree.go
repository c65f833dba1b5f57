package lab

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// linkTree makes a second tree of directories whose files are those of the
// first: on another file system, and where they are databases, copies of them.
func linkTree(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rel)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return sameDirectory(dest, st)
		case isWritten(path):
			return copyFile(path, dest, st)
		}
		err = os.Link(path, dest)
		if errors.Is(err, unix.EXDEV) && d.Type().IsRegular() {
			err = copyFile(path, dest, st)
		}
		return err
	})
}

// isWritten reports whether an engine writes to a file again.
func isWritten(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".db" || ext == ".json"
}

// sameDirectory makes a directory, if it is not there, with owner and mode of
// another.
func sameDirectory(path string, st unix.Stat_t) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(os.Lchown(path, int(st.Uid), int(st.Gid)), unix.Chmod(path, st.Mode&0o7777))
}

func copyFile(from, to string, st unix.Stat_t) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(),
		os.Lchown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777))
}
