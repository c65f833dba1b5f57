package rotate

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A writer is a runtime with one container that writes a log.
type writer struct {
	path     string
	reopened int
	refuse   error
}

func (w *writer) RunningLogs(context.Context) (map[string]string, error) {
	return map[string]string{"c": w.path}, nil
}

func (w *writer) ReopenLog(_ context.Context, id string) error {
	if id != "c" || w.refuse != nil {
		return w.refuse
	}
	w.reopened++
	return os.WriteFile(w.path, nil, 0o600)
}

func (w *writer) write(t *testing.T, text string) {
	t.Helper()
	f, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func newWriter(t *testing.T) (*writer, Options) {
	w := &writer{path: filepath.Join(t.TempDir(), "[odd]*", "0.log")}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o700); err != nil {
		t.Fatal(err)
	}
	return w, Options{Runtime: w, MaxSize: 10, MaxFiles: 3, Interval: 10 * time.Second, Log: slog.New(slog.DiscardHandler)}
}

func (w *writer) expectFiles(t *testing.T, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(w.path))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestLogsArePutAsideCompressedAndRemoved(t *testing.T) {
	w, o := newWriter(t)
	w.write(t, "small")
	rotate := func(n int) {
		t.Helper()
		if err := o.once(t.Context(), start.Add(time.Duration(n)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	rotate(0)
	w.expectFiles(t, "0.log")
	w.write(t, ", then large")
	rotate(1)
	w.expectFiles(t, "0.log", "0.log.20260102-030505")
	w.write(t, "large a second time")
	rotate(2)
	w.expectFiles(t, "0.log", "0.log.20260102-030505.gz", "0.log.20260102-030605")
	w.write(t, "large a third time")
	rotate(3)
	w.expectFiles(t, "0.log", "0.log.20260102-030605.gz", "0.log.20260102-030705")
	if got := unzip(t, w.path+".20260102-030605.gz"); got != "large a second time" {
		t.Errorf("compressed %q", got)
	}
	if w.reopened != 3 {
		t.Errorf("reopened %d times", w.reopened)
	}
}

func unzip(t *testing.T, path string) string {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRefusedReopenLosesNothing(t *testing.T) {
	w, o := newWriter(t)
	w.write(t, "large enough")
	w.refuse = errors.New("busy")
	if err := o.once(t.Context(), start); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("error %v", err)
	}
	w.expectFiles(t, "0.log")
}

func TestHalvesOfACompressionAreRemoved(t *testing.T) {
	w, o := newWriter(t)
	w.write(t, "large enough")
	for _, name := range []string{".20260102-020000", ".20260102-020000.tmp"} {
		if err := os.WriteFile(w.path+name, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.once(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	w.expectFiles(t, "0.log", "0.log.20260102-020000.gz", "0.log.20260102-030405")
}

func TestRunLooksNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, o := newWriter(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); Run(ctx, o) }()
		w.write(t, "large enough")
		time.Sleep(9 * time.Second)
		synctest.Wait()
		w.expectFiles(t, "0.log")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if w.reopened != 1 {
			t.Errorf("reopened %d times", w.reopened)
		}
		cancel()
		<-ended
	})
}

// several is a runtime of several logs, each of which is reopened only together with
// another.
type several struct {
	paths map[string]string
	meet  chan struct{}

	mu           sync.Mutex // guards what follows
	inside, most int
}

func (s *several) RunningLogs(context.Context) (map[string]string, error) { return s.paths, nil }

func (s *several) ReopenLog(ctx context.Context, _ string) error {
	s.enter(1)
	defer s.enter(-1)
	select {
	case s.meet <- struct{}{}:
	case <-s.meet:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (s *several) enter(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inside += n
	s.most = max(s.most, s.inside)
}

func TestAsManyLogsAtATimeAsThereAreWorkers(t *testing.T) {
	s := &several{paths: map[string]string{}, meet: make(chan struct{})}
	for _, name := range []string{"a", "b", "c", "d"} {
		s.paths[name] = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(s.paths[name], []byte("large enough"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Runtime: s, MaxSize: 10, MaxFiles: 3, Workers: 2}
	if err := o.once(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	if n := s.most; n != 2 {
		t.Errorf("%d at a time", n)
	}
}
