package timeline

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func options(dir, by string) Options {
	return Options{Dir: dir, By: by, Log: slog.New(slog.DiscardHandler)}
}

// kept returns what the newest bring-up holds, a word a record.
func kept(t *testing.T, dir string) (words []string) {
	t.Helper()
	records, err := ReadFile(Newest(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		word := r.By + " " + r.Key()
		if !r.over() {
			word += " open"
		}
		if r.Err != "" {
			word += " " + r.Err
		}
		words = append(words, word)
	}
	return words
}

// A command and the loop write to one bring-up; what was begun is there, whether or
// not it ended; and when all is quiet, it is closed.
func TestWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "timeline")
	synctest.Test(t, func(t *testing.T) {
		initially := NewWriter(options(dir, "init"))
		run := initially.Begin(Record{Kind: Run, Name: "init"})
		initially.Begin(Record{Kind: Change, Name: "wait"})
		time.Sleep(time.Second) // the loop comes later
		loop := NewWriter(options(dir, LoopName))
		loop.End(Record{Kind: Loop, Name: "n1"}, nil)
		synctest.Wait()
		initially.End(run, errors.New("broken"))
		initially.Close()
		initially.Close()
		loop.Settle(true)
		time.Sleep(Quiet + time.Second)
		if !loop.Over() {
			t.Error("the loop goes on")
		}
		loop.End(Record{Kind: NodeUp}, nil)
		loop.Close()
	})
	want := []string{"init run:init broken", "init change:wait open", "loop loop", "loop closed"}
	if diff := cmp.Diff(want, kept(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// Who is not settled writes on, but not for ever.
func TestWriterEnds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := NewWriter(options(dir, LoopName))
		w.End(Record{Kind: Loop}, nil)
		time.Sleep(Longest - time.Second)
		w.End(Record{Kind: Node}, nil)
		time.Sleep(2 * time.Second)
		if !w.Over() {
			t.Error("it writes on")
		}
		w.Close()
	})
	if diff := cmp.Diff([]string{"loop loop", "loop node", "loop closed"}, kept(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// However much happens, the file stays small, and nobody waits.
func TestWriterIsBounded(t *testing.T) {
	dir := t.TempDir()
	w := NewWriter(options(dir, LoopName))
	deadline := time.Now().Add(time.Minute)
	for i := 0; !w.Over(); i++ {
		w.End(Record{Kind: Import, Name: strings.Repeat("x", 100) + fmt.Sprint(i)}, errors.New(strings.Repeat("e", 10000)))
		if time.Now().After(deadline) {
			t.Fatal("it takes more and more")
		}
	}
	w.Close()
	fi, err := os.Stat(Newest(dir))
	if err != nil || fi.Size() > 3<<20 || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", fi, err)
	}
}

// What changes nothing leaves nothing, and a nil writer is no writer.
func TestLazy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "timeline")
	o := options(dir, "init")
	o.Lazy = true
	w := NewWriter(o)
	w.End(w.Begin(Record{Kind: Run, Name: "init"}), nil)
	w.Close()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	w = NewWriter(o)
	r := w.Begin(Record{Kind: Run, Name: "init"})
	w.Commit()
	w.End(r, nil)
	w.Close()
	if diff := cmp.Diff([]string{"init run:init"}, kept(t, dir)); diff != "" {
		t.Error(diff)
	}
	var none *Writer
	none.End(none.Begin(Record{}), nil)
	none.Note(Record{})
	none.Commit()
	none.Settle(true)
	none.Close()
	if !none.Over() {
		t.Error("a nil writer takes records")
	}
}

// A command that was killed goes on in its bring-up; one that ended begins
// another, as does one that comes much later, and the loop follows it there.
func TestWhichBringUp(t *testing.T) {
	for name, c := range map[string]struct {
		before   []Record
		age      time.Duration
		by       string
		together bool
	}{
		"killed a moment ago":     {[]Record{{Kind: Run, Name: "init"}}, 0, "init", true},
		"killed long ago":         {[]Record{{Kind: Run, Name: "init"}}, fresh + time.Minute, "init", false},
		"ended":                   {[]Record{{Kind: Run, Name: "init", End: second(2)}}, 0, "init", false},
		"another command":         {[]Record{{Kind: Run, Name: "init"}}, 0, "join", false},
		"the loop, of a command":  {[]Record{{Kind: Run, Name: "init", End: second(2)}}, 0, LoopName, true},
		"the loop, of one closed": {[]Record{{Kind: Run, Name: "init"}, {Kind: Closed, End: second(3)}}, 0, LoopName, false},
		"the loop, much later":    {[]Record{{Kind: Run, Name: "init"}}, time.Hour, LoopName, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := &file{dir: dir, path: filepath.Join(dir, "20200101T000000.000Z-init"+suffix)}
			for i, r := range c.before {
				r.Seq, r.By, r.Start = int64(i), "init", second(1)
				if err := f.append([]Record{r}); err != nil {
					t.Fatal(err)
				}
			}
			then := time.Now().Add(-c.age)
			if err := os.Chtimes(f.path, then, then); err != nil {
				t.Fatal(err)
			}
			w := NewWriter(options(dir, c.by))
			w.End(Record{Kind: Node}, nil)
			w.Close()
			if got := Newest(dir) == f.path; got != c.together {
				t.Errorf("written to %s", Newest(dir))
			}
		})
	}
}

// Only the last bring-ups are kept.
func TestKept(t *testing.T) {
	dir := t.TempDir()
	for i := range Kept + 3 {
		path := filepath.Join(dir, name(second(float64(i)), "init"))
		if err := prune(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	paths, err := List(dir)
	if err != nil || len(paths) != Kept || !strings.Contains(paths[0], "030412") {
		t.Errorf("%v %v", paths, err)
	}
}

// A tail tells what the loop did last, of the newest bring-up.
func TestTail(t *testing.T) {
	dir := t.TempDir()
	tail := Tail{Dir: dir}
	if _, ok := tail.Latest(); ok {
		t.Error("there is nothing")
	}
	write := func(path, by string, k Kind) {
		t.Helper()
		f := &file{dir: dir, path: filepath.Join(dir, path+suffix)}
		if err := f.append([]Record{{Seq: 1, By: by, Kind: k, Start: second(1)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		path, by string
		kind     Kind
		want     Kind
	}{
		{"1", "init", Change, ""},
		{"1", LoopName, Engine, Engine},
		{"1", LoopName, API, Engine},
		{"1", LoopName, Sandbox, Sandbox},
		{"2", "init", Change, ""},
		{"2", LoopName, Loop, Loop},
	} {
		write(step.path, step.by, step.kind)
		if r, _ := tail.Latest(); r.Kind != step.want {
			t.Errorf("after %+v: %s", step, r.Kind)
		}
	}
}
