package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/engine"
	"boot.internal/phases"
	"boot.internal/timeline"
)

// noted returns what is kept in a directory, in the order of their keys.
func noted(t *testing.T, dir string) (all []string) {
	t.Helper()
	records, err := timeline.ReadFile(timeline.Newest(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		slices.Sort(r.Needs)
		text := r.Key() + " ← " + strings.Join(r.Needs, ", ")
		if r.End.IsZero() {
			text += " (open)"
		}
		if r.Err != "" {
			text += " (" + r.Err + ")"
		}
		all = append(all, text)
	}
	return all
}

func options(dir, by string, lazy bool) timeline.Options {
	return timeline.Options{Dir: dir, By: by, Lazy: lazy, Log: slog.New(slog.DiscardHandler)}
}

// Of a command it is kept what it did, one thing after the other, and when each
// component that it waited for was well.
func TestRecording(t *testing.T) {
	dir := t.TempDir()
	r := newRecording("init", options(dir, "init", true))
	step := func(name string, events ...phases.Event) {
		r.event(phases.Event{Step: name, State: phases.Started})
		for _, e := range events {
			e.Step = name
			r.event(e)
		}
	}
	step("preflight", phases.Event{State: phases.Done})
	step("kubelet-start", phases.Event{State: phases.Changing, Text: phases.StartLoop}, phases.Event{State: phases.Done})
	broken := errors.New("broken")
	step("wait-control-plane",
		phases.Event{State: phases.Changing, Text: "wait"},
		phases.Event{State: phases.Waiting, Awaits: []string{"etcd", "kube-apiserver"}},
		phases.Event{State: phases.Because, Text: "etcd: no"},
		phases.Event{State: phases.Waiting, Awaits: []string{"kube-apiserver"}},
		phases.Event{State: phases.Failed, Err: broken})
	r.end(broken)
	want := []string{
		"run:init ← look:wait-control-plane (broken)",
		"phase:preflight ← ",
		"look:preflight ← ",
		"phase:kubelet-start ← ",
		"look:kubelet-start ← look:preflight",
		"change:start the kubelet loop ← answer, look:kubelet-start",
		"phase:wait-control-plane ←  (broken)",
		"look:wait-control-plane ← change:start the kubelet loop",
		"change:wait ← health:kube-system/etcd, look:wait-control-plane (broken)",
		"health:kube-system/etcd ← look:wait-control-plane",
		"health:kube-system/kube-apiserver ← look:wait-control-plane (open)",
	}
	if diff := cmp.Diff(want, noted(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A run that finds nothing to do is no bring-up.
func TestRecordingOfNothing(t *testing.T) {
	dir := t.TempDir()
	r := newRecording("init", options(dir, "init", true))
	r.event(phases.Event{Step: "preflight", State: phases.Started})
	r.event(phases.Event{Step: "preflight", State: phases.Done})
	r.end(nil)
	if path := timeline.Newest(dir); path != "" {
		t.Errorf("there is %s", path)
	}
}

// The reading of an archive is noted once, however many images it has; what the
// engine had already was not read.
func TestNoteImport(t *testing.T) {
	dir := t.TempDir()
	l := &loop{timeline: timeline.NewWriter(options(dir, timeline.LoopName, false))}
	begin := time.Now().Add(-time.Hour)
	for i, image := range []string{"a:1", "b:1"} {
		l.noteImport(engine.Imported{Image: image, Archive: "/x/all.tar", Since: begin.Add(time.Duration(i+2) * time.Second), ReadFrom: begin, ReadTo: begin.Add(time.Second)})
	}
	l.noteImport(engine.Imported{Image: "c:1", Archive: "/x/c.tar", Since: begin.Add(time.Minute)})
	l.timeline.Close()
	want := []string{"read:all.tar ← engine", "import:a:1 ← engine, read:all.tar", "import:b:1 ← engine, read:all.tar", "import:c:1 ← engine"}
	if diff := cmp.Diff(want, noted(t, dir)); diff != "" {
		t.Error(diff)
	}
}
