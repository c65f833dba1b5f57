package timeline

import (
	"slices"
	"strings"
	"time"
)

// A Step is a part of the critical path: for that long, everything waited for this
// record. Its share of the record's time begins when the last thing was over that
// it needed.
type Step struct {
	Record *Record
	// Idle says that the record had not begun yet, though all that it needed was
	// there.
	Idle       bool
	Start, End time.Time
}

// Took is how long it was waited for.
func (s Step) Took() time.Duration { return s.End.Sub(s.Start) }

// critical goes back from the last record, each time to that which it needed and
// which was over last, to the beginning. So what the steps took adds up to the whole.
func (b *BringUp) critical(last *Record) []Step {
	index := b.index()
	var path []Step
	seen := map[*Record]bool{}
	for r, until := last, last.End; r != nil; {
		seen[r] = true
		before, from := b.before(index, r, until, seen)
		inLine := before != nil && r.inLine()
		path = append(path, parts(r, from, until, inLine)...)
		r, until = before, from
	}
	path = slices.DeleteFunc(path, func(s Step) bool { return s.Took() <= 0 })
	slices.Reverse(path)
	return path
}

// parts are the time from one moment to another for which a record was waited,
// the later part first. What follows another thing at once by its nature was never
// idle.
func parts(r *Record, from, until time.Time, inLine bool) []Step {
	begun := r.Start
	if begun.After(until) {
		begun = until
	}
	if !begun.After(from) || inLine {
		return []Step{{Record: r, Start: from, End: until}}
	}
	return []Step{{Record: r, Start: begun, End: until}, {Record: r, Idle: true, Start: from, End: begun}}
}

// inLine says whether the record is one of a command, which does one thing after
// the other, or something that takes no time and is only ever found to be so.
func (r *Record) inLine() bool {
	return r.Kind == Look || r.Kind == Change || r.Kind == Run || r.End.Equal(r.Start)
}

// index finds records by key.
func (b *BringUp) index() map[string][]*Record {
	index := map[string][]*Record{}
	for i := range b.Records {
		r := &b.Records[i]
		if r.over() && r.Err == "" {
			index[r.Key()] = append(index[r.Key()], r)
		}
	}
	return index
}

// before returns what the record needed that was there last, and since when it was:
// nil and the beginning if there is nothing. What was there only after it can not have
// been waited for.
func (b *BringUp) before(index map[string][]*Record, r *Record, until time.Time, seen map[*Record]bool) (last *Record, since time.Time) {
	since = b.Began
	for _, key := range append(slices.Clone(r.Needs), known(index, r)...) {
		for _, need := range index[key] {
			there, ok := need.there(until)
			if !ok || seen[need] {
				continue
			}
			if last == nil || there.After(since) {
				last, since = need, there
			}
		}
	}
	return last, since
}

// there returns since when there is what the record is about, if it was by then. A
// file is there a moment before the change that writes it is over.
func (r *Record) there(by time.Time) (since time.Time, ok bool) {
	switch {
	case !r.End.After(by):
		return r.End, true
	case r.Kind == Change && !r.Start.After(by):
		return by, true
	}
	return time.Time{}, false
}

// known returns what a record needs as far as this is not the recorder's to know:
// what the parts of Kubernetes need of each other, and who takes turns.
func known(index map[string][]*Record, r *Record) (keys []string) {
	switch {
	case r.Kind == Import || r.Kind == Read: // only a few at a time
		for key := range index {
			if strings.HasPrefix(key, string(Import)+":") || strings.HasPrefix(key, string(Read)+":") {
				keys = append(keys, finished(index, key, r.Start)...)
			}
		}
	case r.Kind == Loop: // by a command, which does one thing after the other
		for key := range index {
			if strings.HasPrefix(key, string(Change)+":") || strings.HasPrefix(key, string(Look)+":") {
				keys = append(keys, finished(index, key, r.Start)...)
			}
		}
	case r.Kind == Ready && r.Pod == apiServer:
		keys = append(keys, PodKey(PodUp, etcd), PodKey(Health, etcd))
	case r.Kind == Health && r.Pod == apiServer:
		keys = append(keys, PodKey(Health, etcd), ContainerKey(Start, apiServer, bare(apiServer)))
	case r.Kind == Health:
		keys = append(keys, ContainerKey(Start, r.Pod, bare(r.Pod)))
	case r.Kind == Node: // the first answer that the loop gets
		keys = append(keys, PodKey(PodUp, apiServer), PodKey(Health, apiServer))
	case r.Kind == CIDR: // the controller manager gives it
		keys = append(keys, PodKey(PodUp, controllers), PodKey(Health, controllers))
	case r.Kind == Wanted && slices.Contains(r.Needs, string(API)): // somebody made it and a node was found for it
		keys = append(keys, string(NodeUp), PodKey(PodUp, controllers), PodKey(PodUp, scheduler), PodKey(Health, controllers), PodKey(Health, scheduler))
	}
	return keys
}

// finished returns the key if one of its records was over by then.
func finished(index map[string][]*Record, key string, by time.Time) []string {
	for _, r := range index[key] {
		if !r.End.After(by) {
			return []string{key}
		}
	}
	return nil
}

// The components, by their pods.
const (
	system      = "kube-system/"
	etcd        = system + "etcd"
	apiServer   = system + "kube-apiserver"
	controllers = system + "kube-controller-manager"
	scheduler   = system + "kube-scheduler"
)

// bare is the name of a pod without its namespace.
func bare(pod string) string { return pod[strings.IndexByte(pod, '/')+1:] }
