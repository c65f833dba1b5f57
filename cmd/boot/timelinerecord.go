package main

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"boot.internal/engine"
	"boot.internal/phases"
	"boot.internal/timeline"
)

// timelineDir is where it is kept how the node came up.
var timelineDir = filepath.Join(stateDir, "timeline") //nolint:gochecknoglobals // a constant made of one

// recorded runs phases, shows their progress, and keeps in the timeline what they
// do, unless this is a dry run.
func (u *ui) recorded(command string, dryRun bool, run func(report func(phases.Event)) error) error {
	show := u.progress(dryRun)
	if dryRun {
		return run(show)
	}
	r := newRecording(command, timeline.Options{Dir: timelineDir, By: command, Lazy: true, Log: u.logger()})
	u.news = &newsman{tail: timeline.Tail{Dir: timelineDir}}
	err := run(func(e phases.Event) {
		r.event(e)
		show(e)
	})
	r.end(err)
	return err
}

// A recording tells the timeline what the phases of a command do. One thing is
// done after the other: each needs the one before.
type recording struct {
	w          *timeline.Writer
	run, phase timeline.Record
	now        timeline.Record            // a look or a change
	last       string                     // key of the one before
	awaited    map[string]timeline.Record // components, by name
}

func newRecording(command string, o timeline.Options) *recording {
	r := &recording{w: timeline.NewWriter(o), awaited: map[string]timeline.Record{}}
	r.run = r.w.Begin(timeline.Record{Kind: timeline.Run, Name: command})
	return r
}

// event takes what a run of phases tells.
func (r *recording) event(e phases.Event) {
	switch e.State {
	case phases.Started:
		r.phase = r.w.Begin(timeline.Record{Kind: timeline.Phase, Name: e.Step})
		r.next(timeline.Record{Kind: timeline.Look, Name: e.Step})
	case phases.Changing:
		r.w.Commit() // what changes nothing is no bring-up
		r.over(nil)
		r.next(timeline.Record{Kind: timeline.Change, Name: e.Text, Phase: e.Step, Needs: needsOf(e.Text)})
	case phases.Waiting:
		r.await(e.Awaits)
	case phases.Done, phases.Failed:
		r.over(e.Err)
		r.w.End(r.phase, e.Err)
	}
}

// needsOf is what a change waits for by its nature: the loop is started once its
// engine answers.
func needsOf(change string) []string {
	if change == phases.StartLoop {
		return []string{string(timeline.Answer)}
	}
	return nil
}

// next begins what is done now.
func (r *recording) next(now timeline.Record) {
	if r.last != "" {
		now.Needs = append(now.Needs, r.last)
	}
	r.now = r.w.Begin(now)
}

// over ends what was done until now.
func (r *recording) over(err error) {
	if r.now.Kind == "" {
		return
	}
	if err == nil {
		r.await(nil) // whatever was waited for is there
	}
	r.w.End(r.now, err)
	if err == nil {
		r.last = r.now.Key()
	}
	r.now = timeline.Record{}
}

// await notes what is waited for by now: what was before, and is no more, is well.
func (r *recording) await(names []string) {
	for name, c := range r.awaited {
		if !slices.Contains(names, name) {
			r.w.End(c, nil)
			r.now.Needs = append(r.now.Needs, c.Key())
			delete(r.awaited, name)
		}
	}
	for _, name := range names {
		if _, known := r.awaited[name]; !known {
			r.awaited[name] = r.w.Begin(timeline.Record{Kind: timeline.Health, Pod: "kube-system/" + name, Needs: needsList(r.last)})
		}
	}
}

func needsList(key string) []string {
	if key == "" {
		return nil
	}
	return []string{key}
}

// end ends the recording: how the command ended is the last of it.
func (r *recording) end(err error) {
	r.run.Needs = needsList(r.last)
	r.w.End(r.run, err)
	r.w.Close()
}

// noteImport tells the timeline of an image, and the first time of its archive.
func (l *loop) noteImport(im engine.Imported) {
	needs := []string{string(timeline.Engine)}
	if !im.ReadTo.IsZero() {
		read := timeline.Record{Kind: timeline.Read, Name: filepath.Base(im.Archive), Start: im.ReadFrom, End: im.ReadTo, Needs: needs}
		if _, noted := l.archives.LoadOrStore(im.Archive, true); !noted {
			l.timeline.Note(read)
		}
		needs = append(needs, read.Key())
	}
	l.timeline.End(timeline.Record{Kind: timeline.Import, Name: im.Image, Start: im.Since, Needs: needs}, nil)
}

// A newsman tells what the loop is doing, as the timeline has it.
type newsman struct {
	mu   sync.Mutex
	tail timeline.Tail
	text string
	look time.Time
}

// latest returns what the loop did last, for people; "" if nothing is known.
func (n *newsman) latest() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.look) < redrawEvery/2 {
		return n.text
	}
	n.look = time.Now()
	if r, ok := n.tail.Latest(); ok {
		n.text = "node agent: " + r.Words()
		if !r.End.IsZero() && r.End.After(r.Start) {
			n.text += " (" + short(r.End.Sub(r.Start)) + ")"
		}
	}
	return n.text
}
