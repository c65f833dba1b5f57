package timeline

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// A BringUp is how a node came up.
type BringUp struct {
	Command string    // what began it: "init", "join", or "loop" when only the loop was started again
	Node    string    // name of the node, "" if the loop never began
	Began   time.Time // of the first record
	Ended   time.Time // when everything was ready; as far as is known, if it is not
	// Missing are the goals that were never reached.
	Missing []string
	Records []Record // in the order of their beginning
	Path    []Step   // critical path: from Began to Ended without a gap
}

// errEmpty says that a file is no bring-up.
var errEmpty = errors.New("there is nothing in it")

// Open reads a bring-up and finds its critical path.
func Open(path string) (*BringUp, error) {
	records, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(records) == 0 {
		return nil, fmt.Errorf("read bring-up %s: %w", path, errEmpty)
	}
	return newBringUp(records), nil
}

// newBringUp makes a bring-up of at least one record.
func newBringUp(records []Record) *BringUp {
	b := &BringUp{Records: slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Kind == Closed })}
	if len(b.Records) == 0 {
		b.Records = records
	}
	b.Began = b.Records[0].Start
	b.Command = b.Records[0].By
	for _, r := range b.Records {
		switch r.Kind {
		case Run:
			b.Command = r.Name
		case Loop:
			b.Node = r.Name
		}
	}
	if last := b.finish(); last != nil {
		b.Path = b.critical(last)
	}
	return b
}

// Took is how long it took.
func (b *BringUp) Took() time.Duration { return b.Ended.Sub(b.Began) }

// finish finds the goal that was reached last, and with it the end. Where no goal
// was reached, it is the last of all that happened.
func (b *BringUp) finish() (last *Record) {
	goals, latest := b.goals(), (*Record)(nil)
	for i := range b.Records {
		r := &b.Records[i]
		if !r.over() {
			continue
		}
		if latest == nil || !r.End.Before(latest.End) {
			latest = r
		}
		if _, goal := goals[r.Key()]; !goal || goals[r.Key()] || r.Err != "" {
			continue
		}
		goals[r.Key()] = true // the first time counts
		if last == nil || !r.End.Before(last.End) {
			last = r
		}
	}
	for key, reached := range goals {
		if !reached {
			b.Missing = append(b.Missing, key)
		}
	}
	slices.Sort(b.Missing)
	if last == nil {
		last = latest
	}
	if last != nil {
		b.Ended = last.End
	} else {
		b.Ended = b.Began
	}
	return last
}

// goals are what has to be reached, by key, none of them yet: the end of the
// command, and that all that belongs to a cluster is Ready and in the API.
func (b *BringUp) goals() map[string]bool {
	goals := map[string]bool{}
	api := slices.ContainsFunc(b.Records, func(r Record) bool { return r.Kind == API })
	if api {
		goals[string(NodeUp)] = false
	}
	for _, r := range b.Records {
		switch {
		case r.Kind == Run:
			goals[r.Key()] = false
		case r.Kind == Wanted && r.Goal:
			goals[PodKey(PodUp, r.Pod)] = false
			if api && !slices.Contains(r.Needs, string(API)) {
				goals[PodKey(Mirror, r.Pod)] = false
			}
		}
	}
	return goals
}
