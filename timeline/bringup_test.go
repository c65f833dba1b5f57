package timeline

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the pictures and texts in testdata")

// Each bring-up in testdata is told and drawn as beside it: a real one of boot init,
// one that was killed and run again, one of the loop alone, one that never ended.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/*" + suffix)
	if err != nil || len(paths) < 4 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), suffix), func(t *testing.T) {
			b, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			checkWhole(t, b)
			var text, svg bytes.Buffer
			if err := errors.Join(b.Text(&text), b.SVG(&svg)); err != nil {
				t.Fatal(err)
			}
			checkXML(t, svg.Bytes())
			golden(t, strings.TrimSuffix(path, suffix)+".txt", text.Bytes())
			golden(t, strings.TrimSuffix(path, suffix)+".svg", svg.Bytes())
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// checkWhole makes sure that the path has no gap and adds up to the whole.
func checkWhole(t *testing.T, b *BringUp) {
	t.Helper()
	at, sum := b.Began, time.Duration(0)
	for _, s := range b.Path {
		if !s.Start.Equal(at) || s.Took() <= 0 {
			t.Errorf("%s begins at %s and takes %s, but the one before it ended at %s", s.Words(), s.Start, s.Took(), at)
		}
		at = s.End
		sum += s.Took()
	}
	if !at.Equal(b.Ended) || sum != b.Took() {
		t.Errorf("the path ends at %s and takes %s; all ended at %s and took %s", at, sum, b.Ended, b.Took())
	}
	var told time.Duration
	for _, l := range b.lines() {
		told += l.took()
	}
	if told != b.Took() {
		t.Errorf("what is told adds up to %s of %s", told, b.Took())
	}
}

func checkXML(t *testing.T, data []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func second(s float64) time.Time {
	return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(s * float64(time.Second)))
}

// The path goes by what was recorded to be needed, and of that by what was over
// last; what was over too late, or failed, was not waited for.
func TestCriticalPath(t *testing.T) {
	rec := func(k Kind, name string, from, to float64, needs ...string) Record {
		return Record{Kind: k, Name: name, Start: second(from), End: second(to), Needs: needs}
	}
	failed := rec(Import, "a", 0, 3)
	failed.Err = "no"
	for name, c := range map[string]struct {
		records []Record
		want    []string
	}{
		"a chain": {
			[]Record{rec(Look, "a", 0, 1), rec(Look, "b", 1, 3, "look:a"), rec(Run, "init", 0, 3, "look:b")},
			[]string{"0 1 look a", "1 3 look b"},
		},
		"the later of two": {
			[]Record{rec(Import, "a", 0, 1), rec(Engine, "", 0, 2), rec(Run, "init", 0, 3, "import:a", "engine")},
			[]string{"0 2 engine ", "2 3 run init"},
		},
		"too late to have been waited for": {
			[]Record{rec(Import, "a", 0, 9), rec(Engine, "", 0, 1), rec(Run, "init", 0, 3, "import:a", "engine")},
			[]string{"0 1 engine ", "1 3 run init"},
		},
		"seen before whoever writes it is done": {
			[]Record{rec(Engine, "", 0, 1), rec(Change, "write a", 2, 4, "engine"), rec(Run, "init", 0, 3, "change:write a", "engine")},
			[]string{"0 1 engine ", "1 3 change write a"},
		},
		"written only after it was there": {
			[]Record{rec(Engine, "", 0, 1), rec(Change, "write a", 4, 5), rec(Run, "init", 0, 3, "change:write a", "engine")},
			[]string{"0 1 engine ", "1 3 run init"},
		},
		"what failed is nothing to wait for": {
			[]Record{failed, rec(Engine, "", 0, 1), rec(Run, "init", 0, 4, "import:a", "engine")},
			[]string{"0 1 engine ", "1 4 run init"},
		},
		"what it needed was there long before it began": {
			[]Record{rec(Engine, "", 0, 1), rec(Answer, "", 3, 4, "engine"), rec(Run, "init", 0, 5, "answer")},
			[]string{"0 1 engine ", "1 3 idle answer ", "3 4 answer ", "4 5 run init"},
		},
		"a need that nobody recorded": {
			[]Record{rec(Run, "init", 0, 2, "look:a"), rec(Look, "a", 1, 2, "look:other")},
			[]string{"0 1 idle look a", "1 2 look a"},
		},
		"things that need each other": {
			[]Record{rec(Engine, "", 0, 2, "answer"), rec(Answer, "", 0, 2, "engine"), rec(Run, "init", 0, 2, "answer")},
			[]string{"0 2 engine "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBringUp(c.records)
			if b.Ended.After(second(5)) {
				t.Fatalf("ended at %s", b.Ended)
			}
			checkWhole(t, b)
			var got []string
			for _, s := range b.Path {
				idle := ""
				if s.Idle {
					idle = "idle "
				}
				got = append(got, strings.Join([]string{at(s.Start), at(s.End), idle + string(s.Record.Kind), s.Record.Name}, " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func at(tm time.Time) string { return short(tm.Sub(second(0)))[:1] }

// A bring-up is over when all goals are reached for the first time.
func TestGoals(t *testing.T) {
	pod := func(k Kind, from, to float64) Record {
		return Record{Kind: k, Pod: etcd, Start: second(from), End: second(to), Goal: k == Wanted, Needs: []string{"answer"}}
	}
	api := Record{Kind: API, Start: second(0), End: second(0)}
	b := newBringUp([]Record{pod(Wanted, 0, 0), pod(PodUp, 0, 3), pod(PodUp, 8, 9)})
	if b.Took() != 3*time.Second || b.Missing != nil {
		t.Errorf("took %s, missing %v", b.Took(), b.Missing)
	}
	b = newBringUp([]Record{pod(Wanted, 0, 0), pod(PodUp, 0, 3), api})
	want := []string{"mirror:kube-system/etcd", "nodeup"}
	if diff := cmp.Diff(want, b.Missing); diff != "" {
		t.Error(diff)
	}
}

// Ticks are 1, 2 or 5 of something, and not too many.
func TestTick(t *testing.T) {
	for whole, want := range map[time.Duration]time.Duration{
		14 * time.Second:       2 * time.Second,
		time.Second:            100 * time.Millisecond,
		10 * time.Minute:       50 * time.Second,
		40 * time.Millisecond:  5 * time.Millisecond,
		450 * time.Microsecond: 50 * time.Microsecond,
	} {
		if got := tick(whole); got != want || whole/got > maxTick {
			t.Errorf("%s: %s, want %s", whole, got, want)
		}
	}
}

func TestOpenNothing(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "x"+suffix)
	if err := os.WriteFile(empty, []byte("{\n\nnonsense\n{\"kind\":\"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(empty); !errors.Is(err, errEmpty) {
		t.Error(err)
	}
	if _, err := Open(empty + "2"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
