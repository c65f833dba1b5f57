package evict

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A State is what has to be remembered from one look to the next. The zero State
// is that of a node that is well.
type State struct {
	first []metSince                         // thresholds that are met
	acted []Threshold                        // met for long enough, and not far enough behind yet
	last  map[v1.NodeConditionType]time.Time // when a condition had a reason last
}

type metSince struct {
	Threshold
	since time.Time
}

// A Verdict is how the node is.
type Verdict struct {
	Conditions []v1.NodeConditionType // of pressure, sorted
	// Starved are the thresholds that something has to be done about now, memory
	// first.
	Starved []Threshold
}

// Assess holds what is left against the thresholds. A threshold that was met stays
// so until its minimum was freed beyond it. A condition stays for as long as it
// had a reason less than transition ago, so that it does not flap.
func Assess(all []Threshold, seen Levels, s State, transition time.Duration, now time.Time) (State, Verdict) {
	met := slices.Clone(all)
	met = slices.DeleteFunc(met, func(t Threshold) bool { return !t.met(seen, false) })
	for _, t := range s.acted {
		if t.met(seen, true) && !slices.ContainsFunc(met, t.same) {
			met = append(met, t)
		}
	}
	next := State{last: map[v1.NodeConditionType]time.Time{}}
	for c, at := range s.last {
		if now.Sub(at) < transition {
			next.last[c] = at
		}
	}
	for _, t := range met {
		since := now
		if i := slices.IndexFunc(s.first, func(m metSince) bool { return m.same(t) }); i >= 0 {
			since = s.first[i].since
		}
		next.first = append(next.first, metSince{t, since})
		next.last[t.Signal.condition()] = now
		if now.Sub(since) >= t.Grace {
			next.acted = append(next.acted, t)
		}
	}
	return next, Verdict{Conditions: next.conditions(), Starved: memoryFirst(next.acted)}
}

// conditions returns the conditions that the node has.
func (s State) conditions() []v1.NodeConditionType {
	var all []v1.NodeConditionType
	for c := range s.last {
		all = append(all, c)
	}
	slices.Sort(all)
	return all
}

// memoryFirst sorts thresholds by what is to be dealt with first: without memory
// nothing works.
func memoryFirst(all []Threshold) []Threshold {
	rank := func(t Threshold) int {
		if t.Signal.resource() == v1.ResourceMemory {
			return 0
		}
		return 1
	}
	return slices.SortedStableFunc(slices.Values(all), func(a, b Threshold) int { return rank(a) - rank(b) })
}

// until returns how long it takes until the node may be another without anything
// happening: a soft threshold's time is up, or a condition has had none for long
// enough. 0 is never.
func (s State) until(transition time.Duration, now time.Time) time.Duration {
	var wait time.Duration
	sooner := func(d time.Duration) {
		if d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	for _, m := range s.first {
		sooner(m.since.Add(m.Grace).Sub(now))
	}
	for _, at := range s.last {
		sooner(at.Add(transition).Sub(now))
	}
	return wait
}

// relieved reports whether no threshold is met, with what is to be freed beyond.
func relieved(all []Threshold, seen Levels) bool {
	return !slices.ContainsFunc(all, func(t Threshold) bool { return t.met(seen, true) })
}
