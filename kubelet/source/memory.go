package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"

	"boot.internal/atomicfile"
)

// A memory keeps the last good version of each manifest on disk. Writing
// happens on a goroutine of its own, the newest state only: no pod waits for
// the disk.
type memory struct {
	path string
	log  *slog.Logger

	before map[string][]byte // from the last run; of the source's goroutine
	saved  map[string][]byte // handed to the writer last

	queue chan map[string][]byte // capacity 1: the newest state still to be written
	done  chan struct{}
}

// openMemory reads what was remembered at path. A memory that cannot be read
// is empty: it is only a second net.
func openMemory(path string, log *slog.Logger) *memory {
	m := &memory{path: path, log: log, queue: make(chan map[string][]byte, 1), done: make(chan struct{})}
	go m.write()
	if path == "" {
		return m
	}
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &m.before)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("cannot read last good manifests", slog.String("path", path), slog.Any("err", err))
	}
	m.saved = maps.Clone(m.before)
	return m
}

// recall returns the last good version of a file from before the restart.
func (m *memory) recall(path string) ([]byte, bool) {
	good, ok := m.before[path]
	return good, ok
}

// forget drops what was remembered of files that are gone: should one come
// back, it is a new one.
func (m *memory) forget(gone func(path string) bool) {
	maps.DeleteFunc(m.before, func(path string, _ []byte) bool { return gone(path) })
}

// save hands the good versions of all files to the writer if they are others
// than before.
func (m *memory) save(files map[string]*file) {
	next := map[string][]byte{}
	for path, f := range files {
		if f.good != nil {
			next[path] = f.good
		}
	}
	if m.path == "" || maps.EqualFunc(m.saved, next, bytes.Equal) {
		return
	}
	m.saved = next
	select { // the writer has not taken the former one: it is out of date
	case <-m.queue:
	default:
	}
	m.queue <- next
}

// write writes what is queued until the queue is closed.
func (m *memory) write() {
	defer close(m.done)
	for files := range m.queue {
		data, err := json.Marshal(files)
		if err == nil { // manifests may hold secrets
			err = atomicfile.Write(m.path, data, 0o600)
		}
		if err != nil {
			m.log.Warn("cannot remember last good manifests", slog.String("path", m.path), slog.Any("err", err))
		}
	}
}

// close waits until everything is written.
func (m *memory) close() {
	close(m.queue)
	<-m.done
}
