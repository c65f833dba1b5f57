package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source/manifest"
)

// A file is one manifest: as it is now, and its last good version.
type file struct {
	raw      []byte // as last read; nil if it could not be read
	failure  string // why it could not
	pod      *v1.Pod
	good     []byte // the document pod is from
	problems []Problem
}

// sizeLimit is how large a manifest may be (SP-7).
const sizeLimit = 10 << 20

func sortedPaths(files map[string]*file) []string { return slices.Sorted(maps.Keys(files)) }

// scan lists the path, reads the files that are new or dirty, or all if dirty is nil,
// and drops those that are gone. A file somebody is in the middle of stays as it was.
func (s *FileSource) scan(dirty func(path string) bool) {
	paths, problems, err := s.list()
	if err != nil { // the manifests may well be there still
		s.listing = []Problem{{Path: s.o.Path, Reason: Unreadable, Message: err.Error()}}
		s.recallAll()
		return
	}
	s.listing, s.listed = problems, true
	gone := func(path string) bool { return !slices.Contains(paths, path) }
	maps.DeleteFunc(s.files, func(path string, _ *file) bool { return gone(path) })
	s.memory.forget(gone)
	for _, path := range paths {
		_, busy := s.writing[path]
		heard := dirty != nil && dirty(path)
		if !busy && (heard || dirty == nil || s.files[path] == nil) {
			s.read(path, heard)
		}
	}
}

// list returns the manifests at the path, in lexical order. A path that is
// missing has none (SP-2).
func (s *FileSource) list() (paths []string, problems []Problem, err error) {
	fi, err := os.Stat(s.o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case !fi.IsDir(): // whatever its name: the user gave it
		return []string{s.o.Path}, nil, nil
	}
	entries, err := os.ReadDir(s.o.Path)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		path := filepath.Join(s.o.Path, e.Name())
		switch _, busy := s.writing[path]; {
		case isHidden(e.Name()):
		case isManifest(e.Name()):
			paths = append(paths, path)
		case !busy:
			problems = append(problems, ignored(path, e))
		}
	}
	return paths, problems, nil
}

// isHidden reports whether a name counts for nobody (SP-3).
func isHidden(name string) bool { return strings.HasPrefix(name, ".") }

// isManifest is the list of extensions that count (SP-4): all others are left
// to editors and to copies people put aside.
func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// ignored names an entry that an upstream kubelet would try to run.
func ignored(path string, e fs.DirEntry) Problem {
	p := Problem{
		Path: path, Reason: Ignored, Message: "is no manifest by its name",
		Hint: "manifests end in .yaml, .yml or .json; keep copies elsewhere",
	}
	if e.IsDir() {
		p.Message, p.Hint = "is a directory, and those are not entered", ""
	}
	return p
}

// read brings one file up to date. Unless its writer was heard to be done with it, one
// that is no good and has just been changed may be half of what is being written: it
// is looked at again before anything is said of it.
func (s *FileSource) read(path string, heard bool) {
	raw, changed, err := load(path)
	if errors.Is(err, fs.ErrNotExist) && !isLink(path) { // removed since it was listed
		delete(s.files, path)
		return
	}
	f := s.files[path]
	if f == nil {
		f = &file{}
		s.files[path] = f
	} else if err == nil && f.failure == "" && bytes.Equal(raw, f.raw) || err != nil && err.Error() == f.failure {
		return
	}
	f.raw, f.failure = raw, ""
	if err != nil {
		f.failure = err.Error()
		s.keep(path, f, []Problem{{Path: path, Reason: Unreadable, Message: err.Error()}})
		return
	}
	s.decode(path, f, !heard && s.isFresh(changed, time.Now()))
}

func isLink(path string) bool {
	fi, err := os.Lstat(path)
	return err == nil && fi.Mode()&fs.ModeSymlink != 0
}

// load reads a regular file, or a link to one, of a sensible size (SP-5, SP-7), and
// tells when it was changed.
func load(path string) (raw []byte, changed time.Time, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would make open wait for a writer
	if err != nil {
		if isLink(path) {
			return nil, changed, fmt.Errorf("the link leads nowhere: %w", err)
		}
		return nil, changed, err
	}
	defer func() { _ = f.Close() }() // it was only read
	fi, err := f.Stat()
	if err != nil {
		return nil, changed, err
	}
	if !fi.Mode().IsRegular() {
		return nil, changed, fmt.Errorf("is no regular file but %s", fi.Mode().Type())
	}
	raw, err = io.ReadAll(io.LimitReader(f, sizeLimit+1))
	if err != nil {
		return nil, changed, err
	}
	if len(raw) > sizeLimit {
		return nil, changed, fmt.Errorf("the read limit is reached: it is larger than %d bytes", sizeLimit)
	}
	return raw, fi.ModTime(), nil
}

func (s *FileSource) origin(path string) manifest.Origin {
	return manifest.Origin{Node: s.o.Node, Source: pod.SourceFile, Place: "file:" + path, Seen: time.Now()}
}

// decode takes over what a file says now if it is good. If it is not, that may be for
// not being finished.
func (s *FileSource) decode(path string, f *file, unfinished bool) {
	p, warnings, err := manifest.Pod(f.raw, s.origin(path))
	switch {
	case err != nil && unfinished:
		if f.pod == nil {
			s.recall(path, f)
		}
		f.failure = "it is being written"
		s.writing[path] = time.Now().Add(s.settle)
		return
	case err != nil:
		s.keep(path, f, refusals(path, err))
		return
	}
	if f.pod == nil || !sameDocument(f.pod, p) { // else nothing but its looks has changed (SP-16)
		f.pod, f.good = p, f.raw
	}
	f.problems = problems(path, pod.KeyOf(p), Questionable, warnings)
}

// sameDocument reports whether two pods are from documents that say the same.
func sameDocument(a, b *v1.Pod) bool {
	return a.UID == b.UID && a.Annotations[pod.ConfigHash] == b.Annotations[pod.ConfigHash]
}

// keep notes what is wrong about a file and goes on with its last good
// version, if there was one (SP-14, SP-15).
func (s *FileSource) keep(path string, f *file, wrong []Problem) {
	if f.pod == nil {
		s.recall(path, f)
	}
	if f.pod != nil {
		for i := range wrong {
			wrong[i].Reason, wrong[i].Pod = Kept, pod.KeyOf(f.pod)
			wrong[i].Hint = keptHint(wrong[i].Hint)
		}
	}
	f.problems = wrong
}

// keptHint adds what happens to the pod of a bad file to the hint.
func keptHint(hint string) string {
	const kept = "the last good version goes on running; remove the file to stop the pod"
	if hint == "" {
		return kept
	}
	return hint + "; " + kept
}

// recall takes the last good version from before boot was restarted.
func (s *FileSource) recall(path string, f *file) {
	good, ok := s.memory.recall(path)
	if !ok {
		return
	}
	p, _, err := manifest.Pod(good, s.origin(path))
	if err != nil {
		return // what was good for another version of boot is no longer
	}
	f.pod, f.good = p, good
}

// recallAll stands in for a first list that failed.
func (s *FileSource) recallAll() {
	if s.listed {
		return
	}
	for path := range s.memory.before {
		if s.files[path] == nil {
			f := &file{failure: "not read since boot was started"}
			s.recall(path, f)
			s.files[path] = f
		}
	}
}

// refusals words what a document was refused for.
func refusals(path string, err error) []Problem {
	var refused *manifest.RefusedError
	if errors.As(err, &refused) {
		return problems(path, refused.Pod, Refused, refused.Issues)
	}
	return []Problem{{Path: path, Reason: Refused, Message: err.Error()}}
}

func problems(path string, key pod.Key, reason Reason, issues []manifest.Issue) []Problem {
	found := make([]Problem, len(issues))
	for i, issue := range issues {
		found[i] = Problem{
			Path: path, Line: issue.Line, Pod: key, Reason: reason, Message: issue.String(), Hint: issue.Hint,
		}
	}
	return found
}
