package probe

import (
	"sync"
	"time"
)

// A node at rest does little else than to probe, and to awake for it takes as much of
// the processor as to do it. So probes that last are asked at the same moments: first
// at those of whole seconds, and where so many of a period are asked already, a tenth
// of a second later. Those of a control plane are asked in one go, and those of many
// pods still a few at a time.
const (
	perMoment = 4
	tenth     = time.Second / 10
)

// Moments are how many probes are asked when.
type moments struct {
	base  time.Time // of whole seconds
	mu    sync.Mutex
	taken map[moment]int // guarded by mu
}

// A moment comes again with every period.
type moment struct{ period, phase time.Duration }

func newMoments() *moments { return &moments{base: time.Now(), taken: map[moment]int{}} }

// take returns a moment for a probe of that period, and when it is next: t or less
// than a second later. It is to be left in the end.
func (m *moments) take(period time.Duration, t time.Time) (moment, time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next, at := m.moment(period, t, 0)
	for late := tenth; late < time.Second && m.taken[next] >= perMoment; late += tenth {
		if other, then := m.moment(period, t, late); m.taken[other] < m.taken[next] {
			next, at = other, then
		}
	}
	m.taken[next]++
	return next, at
}

// moment returns the first that is so late in its second and not before t.
func (m *moments) moment(period time.Duration, t time.Time, late time.Duration) (moment, time.Time) {
	since := t.Sub(m.base) - late
	if past := since % time.Second; past > 0 {
		since += time.Second - past
	} else {
		since -= past
	}
	since += late
	return moment{period, since % period}, m.base.Add(since)
}

func (m *moments) leave(left moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken[left]--; m.taken[left] == 0 {
		delete(m.taken, left)
	}
}
