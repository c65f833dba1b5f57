package logfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	f, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTailSkipsWhatWasThereBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "x.log")
	if got := Tail(path, 0, 3); got != nil {
		t.Fatalf("no file: %q", got)
	}
	write(t, path, "old\n")
	f, offset, err := Open(path)
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	if got := Tail(path, offset, 3); got != nil {
		t.Fatalf("nothing new: %q", got)
	}
	write(t, path, "a\nb\n\nc\n  d  ")
	if diff := cmp.Diff([]string{"b", "c", "d"}, Tail(path, offset, 3)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"old", "a", "b", "c", "d"}, Tail(path, 0, 9)); diff != "" {
		t.Error(diff)
	}
}

func TestTailOfALongFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	write(t, path, strings.Repeat("line\n", tailBytes)+"last\n")
	if diff := cmp.Diff([]string{"line", "last"}, Tail(path, 0, 2)); diff != "" {
		t.Error(diff)
	}
}

func TestShrinkKeepsTheWriterGoing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	if err := Shrink(path, 3); err != nil {
		t.Fatalf("no file: %v", err)
	}
	w, _, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	say := func(s string) {
		t.Helper()
		if _, err := w.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	say("one\n")
	if err := Shrink(path, 4); err != nil {
		t.Fatal(err)
	}
	check(t, path, "one\n", "")
	if err := Shrink(path, 3); err != nil {
		t.Fatal(err)
	}
	say("two\n")
	check(t, path, "two\n", "one\n")
}

func check(t *testing.T, path, want, rotated string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("log holds %q, %v; want %q", got, err, want)
	}
	got, err = os.ReadFile(path + ".1")
	if string(got) != rotated || err != nil && rotated != "" {
		t.Errorf("rotated log holds %q, %v; want %q", got, err, rotated)
	}
}
