package probe

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A probe waits for the next whole second, or where others are asked then, a little
// longer, but never for a second more.
func TestMoments(t *testing.T) {
	m := newMoments()
	take := func(period, at time.Duration) time.Duration {
		_, next := m.take(period, m.base.Add(at))
		return next.Sub(m.base)
	}
	const second, long = time.Second, 10 * time.Second
	for i := range perMoment {
		if got := take(second, second+1); got != 2*second {
			t.Errorf("number %d is asked after %s", i, got)
		}
	}
	for _, c := range []struct {
		period, at, want time.Duration
	}{
		{second, 2 * second, 2*second + tenth},           // there is no room
		{second, 2*second + tenth, 2*second + tenth},     // company, and no wait
		{second, 2*second + tenth + 1, 3*second + tenth}, // company
		{long, 3 * second, 3 * second},                   // of another period
		{long, 12*second + 1, 13 * second},               // the same
		{long, 23 * second, 23 * second},                 // the same
		{long, 33 * second, 33 * second},                 // the same
		{long, 33 * second, 33*second + tenth},           // there is no room
		{long, 34*second - 1, 34 * second},               // there is in another second
		{7 * second, 3*second - tenth/2, 3 * second},     // of another period
		{long, 33*second + tenth/2, 34 * second},         // whole seconds first
	} {
		if got := take(c.period, c.at); got != c.want {
			t.Errorf("every %s after %s: %s instead of %s", c.period, c.at, got, c.want)
		}
	}
}

// Where there is no room at all, it is shared.
func TestMomentsAllTaken(t *testing.T) {
	m := newMoments()
	const many = 3 * perMoment * int(time.Second/tenth)
	for range many {
		m.take(time.Second, m.base)
	}
	for of, n := range m.taken {
		if n != 3*perMoment {
			t.Errorf("%d at %s", n, of.phase)
		}
	}
	left := moment{time.Second, 3 * tenth}
	m.leave(left)
	if got, _ := m.take(time.Second, m.base); got != left {
		t.Errorf("%v was taken instead of the one that was left", got)
	}
	for of, n := range m.taken {
		for range n {
			m.leave(of)
		}
	}
	if len(m.taken) > 0 {
		t.Errorf("left behind: %v", m.taken)
	}
}

// Probes of containers that started at different times come to be asked at the same
// moments, a few of them, and every period of theirs. Whoever ends makes room.
func TestProbesShareMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, good)
		for i := range perMoment + 1 {
			time.Sleep(130 * time.Millisecond)
			readiness := newProbe(fmt.Sprint(i))
			readiness.PeriodSeconds = 1
			p := newPod(nil, nil, readiness)
			p.Name = fmt.Sprint("p", i)
			w.Sync(p, running(p.Name), false)
		}
		time.Sleep(3*time.Second - time.Since(w.began) + tenth/2)
		w.noted()
		time.Sleep(2 * time.Second)
		times := map[string]int{}
		for _, line := range w.noted() {
			at, _, _ := strings.Cut(line, " try ")
			times[at]++
		}
		want := map[string]int{"3.1s": 1, "4s": perMoment, "4.1s": 1, "5s": perMoment}
		if diff := cmp.Diff(want, times); diff != "" {
			t.Errorf("how many were asked when (-want +got):\n%s", diff)
		}
		w.Stop()
		if len(w.moments.taken) > 0 {
			t.Errorf("left behind: %v", w.moments.taken)
		}
	})
}
