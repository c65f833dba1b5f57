package atomicfile

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// A temporary file is to take the place of another. It is locked as long as it is
// open, so that nobody takes it for one that a process has left behind.
type temporary struct {
	*os.File
	path string // "" as long as it has no name in its directory
}

// create makes an empty file beside path. Where the file system has files without a
// name (O_TMPFILE), it is one of these: the kernel frees it with the process,
// however that ends, and a name it has only for the moment in which it is renamed.
func create(path string) (*temporary, error) {
	if f, err := nameless(filepath.Dir(path)); err == nil {
		return &temporary{File: f}, nil
	}
	return named(path)
}

// nameless returns a file without a name in a directory, locked. The name of the
// returned value leads to it all the same, by way of /proc.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "/proc/self/fd/"+strconv.Itoa(fd))
	_, err = os.Stat(f.Name()) // without /proc, it could never be given a name
	if err == nil {
		err = lock(f, unix.F_RDLCK)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// named returns a file with a name that [Leftovers] knows, locked.
func named(path string) (*temporary, error) {
	for {
		// The leading dot keeps watchers of manifest directories from reading it.
		f, err := os.CreateTemp(filepath.Dir(path), prefix(path)+"*")
		if err != nil {
			return nil, err
		}
		if err := lock(f, unix.F_RDLCK); !errors.Is(err, unix.EAGAIN) { // some file systems have no locks
			if _, err := os.Lstat(f.Name()); err == nil {
				return &temporary{f, f.Name()}, nil
			}
		}
		_ = f.Close() // somebody's sweep was faster than the lock
	}
}

// replace gives the file the place of path.
func (t *temporary) replace(path string) error {
	for t.path == "" {
		at := filepath.Join(filepath.Dir(path), prefix(path)+strconv.FormatUint(uint64(rand.Uint32()), 10))
		err := unix.Linkat(unix.AT_FDCWD, t.Name(), unix.AT_FDCWD, at, unix.AT_SYMLINK_FOLLOW)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("link %s: %w", at, err)
		}
		if err == nil {
			t.path = at
		}
	}
	if err := os.Rename(t.path, path); err != nil {
		return err
	}
	t.path = ""
	return nil
}

// close removes the file unless it has taken its place.
func (t *temporary) close() error {
	var err error
	if t.path != "" {
		err = os.Remove(t.path)
	}
	return errors.Join(err, t.Close())
}

// lock takes a lock of the kind on all of a file, or fails with EAGAIN at once. It
// belongs to the open file, not to the process, and is apart from those of flock,
// by which databases keep to themselves. Whoever writes the file shares it
// (F_RDLCK), so that it can also be read where a file system makes all locks one.
func lock(f *os.File, kind int16) error {
	return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind})
}
