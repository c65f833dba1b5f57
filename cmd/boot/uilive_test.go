package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/hint"
	"boot.internal/phases"
	"boot.internal/ttytest"
)

// onTerminal returns a user interface on a terminal of 60 columns.
func onTerminal(t *testing.T) (*ttytest.TTY, *ui) {
	t.Helper()
	for key, value := range map[string]string{"TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"} {
		t.Setenv(key, value)
	}
	tty := ttytest.Open(t, 60, 24)
	return tty, newUI(tty.File, tty.File)
}

// timeless replaces durations.
func timeless(screen string) string {
	return regexp.MustCompile(`\d+(\.\d+)? ?(µs|ms|s)\b`).ReplaceAllString(screen, "T")
}

// What is done stays as a line; what goes on is redrawn; what else is printed goes
// above; what fails leaves what it did last; and nothing is left of the rest.
func TestLive(t *testing.T) {
	tty, u := onTerminal(t)
	report := u.progress(false)
	for _, e := range []phases.Event{
		{Step: "certs/ca", State: phases.Started, Number: 1, Of: 3},
		{Step: "certs/ca", State: phases.Changing, Text: "write ca.key", Number: 1, Of: 3},
		{Step: "certs/ca", State: phases.Changing, Text: "write ca.crt", Number: 1, Of: 3},
		{Step: "certs/ca", State: phases.Done, Elapsed: time.Second},
		{Step: "certs/sa", State: phases.Started, Number: 2, Of: 3},
		{Step: "certs/sa", State: phases.Done},
		{Step: "addon", State: phases.Skipped},
		{Step: "wait", State: phases.Started, Number: 3, Of: 3},
		{Step: "wait", State: phases.Changing, Text: "wait for etcd, kube-apiserver", Number: 3, Of: 3},
		{Step: "wait", State: phases.Waiting, Text: "kube-apiserver", Number: 3, Of: 3},
		{Step: "wait", State: phases.Because, Text: "kube-apiserver: get https://192.0.2.1:6443/readyz: 500: [-]etcd failed: reason withheld", Number: 3, Of: 3},
	} {
		report(e)
	}
	want := `✔ certs/ca  2 changes  T
[addon] skipped
… wait  T  (3 of 3, T in all)
    wait for etcd, kube-apiserver
    waiting for kube-apiserver
    kube-apiserver: get https://192.0.2.1:6443/readyz: 500…
`
	tty.Await("the wait", func(s string) bool { return timeless(s) == want })

	tty.Resize(45, 24) // all lines are cut, one is wrapped until then
	u.warn("the disk is slow")
	tty.Await("the warning above", ttytest.Sees("[addon] skipped\nwarning: the disk is slow\n… wait  "))
	tty.Resize(30, 24) // too narrow to draw on
	report(phases.Event{Step: "wait", State: phases.Waiting, Text: "kube-apiserver"})
	tty.Await("nothing redrawn", func(s string) bool { return strings.HasSuffix(s, "warning: the disk is slow\n") })
	tty.Resize(80, 24)
	report(phases.Event{Step: "wait", State: phases.Failed, Elapsed: time.Second, Err: errors.New("no")})
	u.error(hint.With(errors.New("phase wait: no"), "try again"))
	want = `✔ certs/ca  2 changes  T
[addon] skipped
warning: the disk is slow
✘ wait  failed after T
    wait for etcd, kube-apiserver
    waiting for kube-apiserver
    kube-apiserver: get https://192.0.2.1:6443/readyz: 500: [-]etcd failed: reason withheld
error: phase wait: no
hint: try again
`
	tty.Await("the end", func(s string) bool { return timeless(s) == want })
}

// Time goes on although nothing happens.
func TestLiveRedraws(t *testing.T) {
	tty, u := onTerminal(t)
	report := u.progress(false)
	report(phases.Event{Step: "wait", State: phases.Started, Number: 1, Of: 1})
	times := map[string]bool{} // which of them are drawn, and seen, is left to a busy machine
	tty.Await("another time", func(s string) bool {
		if at := regexp.MustCompile(`wait  (\S+) ?s`).FindString(s); at != "" {
			times[at] = true
		}
		return len(times) > 1
	})
	report(phases.Event{Step: "wait", State: phases.Done})
	tty.Await("nothing left", func(s string) bool { return s == "" })
}

// Lines are plain where nothing can be redrawn, or nobody wants it.
func TestNotLive(t *testing.T) {
	for name, c := range map[string]struct {
		term          string
		columns, rows int
	}{
		"a dumb terminal":      {"dumb", 80, 24},
		"no kind of terminal":  {"", 80, 24},
		"a narrow terminal":    {"xterm", minColumns - 1, 24},
		"one with few lines":   {"xterm", 80, minRows - 1},
		"one of unknown size":  {"xterm", 0, 0},
		"large enough, in all": {"xterm", minColumns, minRows},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", c.term)
			tty := ttytest.Open(t, max(c.columns, 1), c.rows)
			tty.Resize(c.columns, c.rows)
			if live := newUI(io.Discard, tty.File).screen != nil; live != strings.HasPrefix(name, "large") {
				t.Errorf("live: %t", live)
			}
		})
	}
	tty, u := onTerminal(t)
	u.progress(true)(phases.Event{Step: "certs/ca", State: phases.Changing, Text: "write ca.crt"})
	tty.Await("a dry run is told in lines", func(s string) bool { return s == "[certs/ca] would write ca.crt\n" })
	if newUI(os.Stdout, &bytes.Buffer{}).screen != nil {
		t.Error("a buffer is no terminal")
	}
}

// The letters of the terminal are used.
func TestSigns(t *testing.T) {
	for lang, want := range map[string]string{"de_AT.UTF-8": "✔", "C.utf8": "✔", "C": "+", "": "+"} {
		t.Setenv("LC_ALL", "")
		t.Setenv("LC_CTYPE", "")
		t.Setenv("LANG", lang)
		if got := sign("✔", "+"); got != want {
			t.Errorf("%s: %s", lang, got)
		}
	}
}

func TestFitted(t *testing.T) {
	for in, want := range map[string]string{"short": "short", "just fits.": "just fits.", "a bit longer": "a bit lon…", "a\nb\tc\x1b[1md": "a b c[1md", "ääääääääääää": "äääääääää…"} {
		if got := fitted(in, 10); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := columnsOf("\x1b[1mäb\x1b[0m c"); got != 4 {
		t.Errorf("%d columns", got)
	}
}

// Who asks for events gets these, an object a line, and nothing for people.
func TestStream(t *testing.T) {
	var out, err bytes.Buffer
	u := newUI(&out, &err)
	if failed := (eventsFormat{u}).Set("yaml"); failed == nil {
		t.Error("a stream of yaml")
	}
	if failed := (eventsFormat{u}).Set("json"); failed != nil {
		t.Fatal(failed)
	}
	report := u.progress(false)
	report(phases.Event{Step: "certs/ca", State: phases.Changing, Text: "write ca.crt", Number: 1, Of: 2})
	u.warn("old")
	u.printf("for people\n")
	failure := hint.With(errors.New("no room"), "make some")
	report(phases.Event{Step: "certs/ca", State: phases.Failed, Elapsed: 1500 * time.Millisecond, Err: failure, Number: 1, Of: 2})
	u.ended(failure, 2)
	want := []map[string]any{
		{"type": "event", "phase": "certs/ca", "state": "changing", "text": "write ca.crt", "number": 1.0, "of": 2.0},
		{"type": "event", "state": "warned", "text": "old"},
		{"type": "event", "phase": "certs/ca", "state": "failed", "elapsed": 1.5, "error": "no room", "hint": "make some", "number": 1.0, "of": 2.0},
		{"type": "result", "state": "failed", "error": "no room", "hint": "make some", "exitCode": 2.0},
	}
	if diff := cmp.Diff(want, lines(t, out.String())); diff != "" || err.Len() > 0 {
		t.Errorf("%s%s", diff, err.String())
	}

	out.Reset()
	if failed := (eventsFormat{u}).Set("json"); failed != nil {
		t.Fatal(failed)
	}
	u.result(result{Node: "n1", Join: []string{"join", "192.0.2.1:6443"}})
	u.ended(nil, 0) // told already
	want = []map[string]any{{"type": "result", "state": "done", "exitCode": 0.0, "node": "n1", "join": []any{"join", "192.0.2.1:6443"}}}
	if diff := cmp.Diff(want, lines(t, out.String())); diff != "" {
		t.Error(diff)
	}

	// What was made is told at the end, also of what has gone half well.
	out.Reset()
	if failed := (eventsFormat{u}).Set("json"); failed != nil {
		t.Fatal(failed)
	}
	u.made(result{File: "/root/x.db", Size: 7, Revision: 9})
	if out.Len() > 0 {
		t.Errorf("told before the end: %s", out.String())
	}
	u.ended(errors.New("no more"), 1)
	want = []map[string]any{{
		"type": "result", "state": "failed", "error": "no more", "exitCode": 1.0, "file": "/root/x.db", "size": 7.0, "revision": 9.0,
	}}
	if diff := cmp.Diff(want, lines(t, out.String())); diff != "" {
		t.Error(diff)
	}
}

// lines decodes lines, without what depends on the time.
func lines(t *testing.T, text string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(line, err)
		}
		if _, err := time.Parse(time.RFC3339Nano, v["time"].(string)); err != nil {
			t.Error(err)
		}
		delete(v, "time")
		if v["type"] == "result" {
			delete(v, "elapsed")
		}
		all = append(all, v)
	}
	return all
}
