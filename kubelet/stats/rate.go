package stats

import (
	"context"
	"time"

	"boot.internal/kubelet/cgroup"
)

// A rate is how much CPU a group uses, and what that was found out by.
type rate struct {
	at    time.Time
	used  time.Duration
	cores float64 // −1 if it is not known yet
}

// Limits of what shares of CPU are averages of. A shorter time says little, and
// a longer one nothing of how it is now.
const (
	shortest = 200 * time.Millisecond
	longest  = time.Minute
)

// after returns the rate once more was used.
func (r rate) after(u cgroup.Usage) rate {
	now := rate{u.Time, u.CPU, -1}
	took := u.Time.Sub(r.at)
	switch {
	case r.at.IsZero() || took > longest || u.CPU < r.used:
		return now
	case took < shortest:
		return r
	}
	now.cores = float64(u.CPU-r.used) / float64(took)
	return now
}

// note works out the rates of all that a sample is of, and forgets the others.
func (m *Meter) note(s *sample) {
	now := map[string]rate{}
	add := func(group string, u *cgroup.Usage) {
		if u != nil {
			now[group] = m.rates[group].after(*u)
		}
	}
	add(m.o.Root, &s.node)
	add(m.o.AllPods, &s.allPods)
	for _, p := range s.pods {
		add(p.group, p.used)
		add(p.sandbox.group, p.sandbox.used)
		for _, c := range p.containers {
			add(c.group, c.used)
		}
	}
	for name, u := range s.system {
		add(name, &u)
	}
	m.rates = now
}

// looks is how many samples are taken at most for one answer: the first may be
// from before something began to run, which the second then sees for the first
// time.
const looks = 3

// lookAgain returns a sample. While the rate of anything in it is not known,
// because it is new or nobody has asked for long, another one is taken.
func (m *Meter) lookAgain(ctx context.Context) (*sample, error) {
	s, err := m.sample(ctx)
	for range looks - 1 {
		if err != nil || m.ratesKnown() {
			break
		}
		select {
		case <-time.After(shortest):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		m.outdate(s)
		s, err = m.sample(ctx)
	}
	return s, err
}

// outdate has the next who asks take a new sample, unless there is one already.
func (m *Meter) outdate(s *sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.last == s {
		m.last = nil
	}
}

func (m *Meter) ratesKnown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.rates {
		if r.cores < 0 {
			return false
		}
	}
	return true
}
