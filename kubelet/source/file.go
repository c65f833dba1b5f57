package source

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// FileOptions say which manifests to watch.
type FileOptions struct {
	Path     string        // staticPodPath: a directory or a single file
	Node     string        // name of this node
	Interval time.Duration // fileCheckFrequency: how often everything is read even if nothing was heard; 0 is 20 s
	// State is the file that keeps the last good version of each manifest, so
	// that one which is bad when boot starts does not end its pod. "" keeps
	// nothing.
	State string
	Log   *slog.Logger
}

// A FileSource watches static pod manifests on disk. All of its state belongs
// to the goroutine of Run.
type FileSource struct {
	o     FileOptions
	watch *watch // nil while there is none

	files     map[string]*file     // by path
	listing   []Problem            // about names, and the directory as a whole
	listed    bool                 // the path could be listed at least once
	unwatched []Problem            // why there is no watch; none if there is
	retry     time.Duration        // back-off of a watch that failed
	writing   map[string]time.Time // files somebody may be in the middle of, and how long to wait
	settle    time.Duration        // how long a file is left alone after a sign that somebody is writing it
	memory    *memory
	sent      *Snapshot
}

// File returns a source of the manifests at a path.
func File(o FileOptions) *FileSource {
	o.Interval = cmp.Or(o.Interval, defaultInterval)
	return &FileSource{o: o, files: map[string]*file{}, writing: map[string]time.Time{}, settle: defaultSettle}
}

const (
	// defaultInterval is the kubelet's for both files and URL.
	defaultInterval = 20 * time.Second

	// defaultSettle only counts where the end of writing is never heard of: a
	// link that was made, or a writer that does not close. Who closes is read at once.
	defaultSettle = 100 * time.Millisecond

	// How long to wait before another try to watch (SP-6).
	minRetry = time.Second
	maxRetry = 20 * time.Second
)

// Run reads everything at once and then whatever changes, and calls out with
// the full set whenever that is another one, until ctx ends. The first call is
// made even if there is nothing.
func (s *FileSource) Run(ctx context.Context, out func(Snapshot)) {
	s.memory = openMemory(s.o.State, s.o.Log)
	defer s.memory.close()
	defer s.dropWatch()
	for ctx.Err() == nil {
		s.arm()
		s.scan(nil)
		s.send(out)
		s.follow(ctx, out)
	}
}

// follow takes events until everything is to be read again.
func (s *FileSource) follow(ctx context.Context, out func(Snapshot)) {
	relist := time.NewTimer(s.untilList())
	defer relist.Stop()
	for {
		var dirty []string
		select {
		case <-ctx.Done():
			return
		case <-relist.C:
			return
		case <-s.settled():
			dirty = s.closeSettled(time.Now())
		case e, open := <-s.events():
			all := false
			if dirty, all = s.drain(e, open); all {
				return
			}
		}
		if len(dirty) > 0 {
			s.scan(func(path string) bool { return slices.Contains(dirty, path) })
			s.send(out)
		}
	}
}

// untilList returns when to read everything again: soon if the watch failed.
func (s *FileSource) untilList() time.Duration {
	if s.watch == nil {
		return min(s.retry, s.o.Interval)
	}
	return s.o.Interval
}

// arm sees to it that there is a watch of what is at the path now.
func (s *FileSource) arm() {
	err := s.tryArm()
	if err == nil {
		s.unwatched, s.retry = nil, 0
		return
	}
	s.dropWatch()
	s.retry = min(max(2*s.retry, minRetry), maxRetry)
	s.unwatched = []Problem{{
		Path: s.o.Path, Reason: Unwatched, Message: err.Error() + "; changes are only seen now and then",
		Hint: "raise sysctl fs.inotify.max_user_instances and fs.inotify.max_user_watches",
	}}
}

func (s *FileSource) tryArm() error {
	if s.watch == nil {
		w, err := newWatch(s.o.Path)
		if err != nil {
			return err
		}
		s.watch = w
	}
	return s.watch.arm()
}

func (s *FileSource) dropWatch() {
	if s.watch != nil {
		s.watch.close()
		s.watch = nil
	}
}

func (s *FileSource) events() <-chan rawEvent {
	if s.watch == nil {
		return nil
	}
	return s.watch.events
}

// drain takes an event and all that already wait behind it, and returns the
// files to read now. all is set if that is everything.
func (s *FileSource) drain(e rawEvent, open bool) (dirty []string, all bool) {
	for {
		if !open {
			s.dropWatch()
			return nil, true
		}
		if c, ok := s.watch.meaning(e); ok {
			if c.path == "" {
				return nil, true
			}
			dirty = s.note(c, dirty)
		}
		select {
		case e, open = <-s.watch.events:
		default:
			return dirty, false
		}
	}
}

// note remembers a file that is being written, or adds one that is done to
// those dirty. What is no manifest is never done: many editors make a file
// that is gone before the user could read about it.
func (s *FileSource) note(c change, dirty []string) []string {
	name := filepath.Base(c.path)
	switch {
	case c.path == s.o.Path: // the user gave its name
	case isHidden(name):
		return dirty
	case !isManifest(name):
		c.done = false
	}
	if !c.done {
		s.writing[c.path] = time.Now().Add(s.settle)
		return dirty
	}
	delete(s.writing, c.path)
	return append(dirty, c.path)
}

// settled returns a channel that fires when the first of the files being
// written has been quiet for long enough.
func (s *FileSource) settled() <-chan time.Time {
	var first time.Time
	for _, at := range s.writing {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return nil
	}
	return time.After(time.Until(first))
}

// closeSettled returns the files that have been quiet for long enough. What the disk
// says of that counts as well: on a busy host a writer gets on while its events wait.
func (s *FileSource) closeSettled(now time.Time) []string {
	var quiet []string
	for path, at := range s.writing {
		if at.After(now) {
			continue
		}
		if fi, err := os.Stat(path); err == nil && s.isFresh(fi.ModTime(), now) {
			s.writing[path] = fi.ModTime().Add(s.settle)
			continue
		}
		quiet = append(quiet, path)
		delete(s.writing, path)
	}
	return quiet
}

// isFresh reports whether who changed a file then may still be at it.
func (s *FileSource) isFresh(changed, now time.Time) bool {
	age := now.Sub(changed)
	return 0 <= age && age < s.settle
}

// send calls out if the set of pods or problems is another than before.
func (s *FileSource) send(out func(Snapshot)) {
	next := s.snapshot()
	if s.sent != nil && slices.Equal(s.sent.Pods, next.Pods) && slices.Equal(s.sent.Problems, next.Problems) &&
		s.sent.Partial == next.Partial {
		return
	}
	s.sent = &next
	out(next)
	s.memory.save(s.files) // after the pods are on their way: writing to disk takes its time
}

// snapshot joins all files, in the order of their paths: the first that wants
// a pod wins (SP-19).
func (s *FileSource) snapshot() Snapshot {
	d := newDistinct()
	problems := slices.Concat(s.unwatched, s.listing)
	for _, path := range sortedPaths(s.files) {
		f := s.files[path]
		problems = append(problems, f.problems...)
		if f.pod == nil {
			continue
		}
		if other, ok := d.add(f.pod, path); !ok {
			problems = append(problems, duplicate(path, other, f.pod))
		}
	}
	return Snapshot{Origin: pod.SourceFile, Pods: d.pods, Problems: problems, Partial: !s.listed}
}

func duplicate(path, other string, p *v1.Pod) Problem {
	return Problem{
		Path: path, Pod: pod.KeyOf(p), Reason: Duplicate,
		Message: fmt.Sprintf("pod %s is already defined by %s, which wins", pod.KeyOf(p), other),
		Hint:    "remove one of the two files",
	}
}
