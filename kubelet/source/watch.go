package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A change is what inotify says about the manifests.
type change struct {
	path string // the file; "" means that anything may have changed
	// done is set once nobody is in the middle of it: the writer closed the
	// file, or it was renamed or removed. Otherwise more is to be expected.
	done bool
}

// A watch follows a directory of manifests. While that is missing, or is a
// single file, it follows the nearest directory above.
//
// inotify is used directly since it tells when a writer has closed a file
// (IN_CLOSE_WRITE), which portable wrappers do not: that is what lets a
// finished file be read at once and a half-written one be left alone (SP-15).
//
// Only the goroutine of the file source calls its methods; read runs on its
// own and touches nothing but the descriptor and the channel.
type watch struct {
	path   string
	fd     int      // of file; asking file for it would make it blocking
	file   *os.File // so that the runtime waits for events
	wd     int32    // watch descriptor, 0 for none
	at     string   // the directory wd is of: path or something above it
	events chan rawEvent
}

// A rawEvent is one inotify event with its name.
type rawEvent struct {
	wd   int32
	mask uint32
	name string
}

const (
	inDone  = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE
	inBegun = unix.IN_CREATE | unix.IN_MODIFY | unix.IN_ATTRIB
	inSelf  = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	inLost  = unix.IN_Q_OVERFLOW | unix.IN_IGNORED | unix.IN_UNMOUNT | inSelf
)

// newWatch starts to watch path. The first arm must follow.
func newWatch(path string) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("start inotify: %w", err)
	}
	w := &watch{path: path, fd: fd, file: os.NewFile(uintptr(fd), "inotify"), events: make(chan rawEvent, 64)}
	go w.read()
	return w, nil
}

// close ends the watch and its reader.
func (w *watch) close() {
	_ = w.file.Close()   // wakes the reader; nothing was written that could be lost
	for range w.events { // it may be in the middle of passing one on
		continue
	}
}

// arm makes the watch follow what is at the path now. It is to be called
// before every full list: what is there by then is listed, and what changes
// later is an event.
func (w *watch) arm() error {
	at := w.path
	for {
		err := w.follow(at)
		switch {
		case (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)) && at != filepath.Dir(at):
			at = filepath.Dir(at)
		case err != nil:
			return fmt.Errorf("watch %s: %w", at, err)
		case at == w.path || !isDir(below(w.path, at)):
			return nil
		default: // it appeared meanwhile
			at = w.path
		}
	}
}

// follow watches one directory instead of what was watched before.
func (w *watch) follow(dir string) error {
	n, err := unix.InotifyAddWatch(w.fd, dir, inDone|inBegun|inSelf|unix.IN_ONLYDIR)
	if err != nil {
		return err
	}
	wd := int32(n)
	if w.wd != 0 && w.wd != wd {
		_, _ = unix.InotifyRmWatch(w.fd, uint32(w.wd)) // gone already if its directory is
	}
	w.wd, w.at = wd, dir
	return nil
}

// below returns the entry of the directory at that leads to path.
func below(path, at string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, at), "/")
	first, _, _ := strings.Cut(rest, "/")
	return filepath.Join(at, first)
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// meaning translates an event; ok is false for those that mean nothing.
func (w *watch) meaning(e rawEvent) (c change, ok bool) {
	anything := change{done: true}
	switch {
	case e.mask&unix.IN_Q_OVERFLOW != 0:
		return anything, true
	case e.wd != w.wd:
		return change{}, false // of a directory no longer watched
	case e.mask&inLost != 0:
		return anything, true
	case w.at != w.path && filepath.Join(w.at, e.name) != below(w.path, w.at):
		return change{}, false // a neighbour
	case e.mask&unix.IN_ISDIR != 0:
		return anything, true
	}
	return change{path: filepath.Join(w.at, e.name), done: e.mask&inDone != 0}, true
}

// read passes events on until the descriptor is closed or broken.
func (w *watch) read() {
	defer close(w.events)
	buf := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return // the source sees the channel closed and starts another watch
		}
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			var e rawEvent
			e, rest = parseEvent(rest)
			w.events <- e
		}
	}
}

// parseEvent cuts one struct inotify_event off b: wd, mask, cookie, length of
// the name, and the name padded with zeros.
func parseEvent(b []byte) (rawEvent, []byte) {
	end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
	name, _, _ := strings.Cut(string(b[unix.SizeofInotifyEvent:end]), "\x00")
	return rawEvent{
		wd:   int32(binary.NativeEndian.Uint32(b)),
		mask: binary.NativeEndian.Uint32(b[4:]),
		name: name,
	}, b[end:]
}
