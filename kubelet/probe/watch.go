package probe

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Between two periods of a startup probe, early attempts are made after these
// pauses, each twice the one before.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = time.Second
)

// A watch is what the goroutine of one probe knows.
type watch struct {
	c     *container
	name  string // as events have it: "Liveness"
	probe *v1.Probe
	early bool // try between periods, too
	lasts bool // goes on for as long as the container runs

	period, timeout time.Duration
	settled, good   bool // whether there is a result by the thresholds, and which
	last            bool // the last answer
	run             int32
	moment          *moment // of its attempts but the first, if it lasts
}

func newWatch(c *container, name string, p *v1.Probe) *watch {
	return &watch{
		c: c, name: name, probe: p,
		// What is not set is what the API defaults it to.
		period:  time.Duration(cmp.Or(p.PeriodSeconds, 10)) * time.Second,
		timeout: timeoutOf(p),
	}
}

func timeoutOf(p *v1.Probe) time.Duration {
	return time.Duration(cmp.Or(p.TimeoutSeconds, 1)) * time.Second
}

// watch tries the probe every period until ctx ends or report, which is told of
// every result that differs from the one before, says it is done. jitter puts
// off the first attempt, lest a restart of boot means all probes at once. The others of
// a probe that lasts are made along with those of others.
func (pr *Prober) watch(ctx context.Context, w *watch, jitter bool, report func(good bool, output string) (done bool)) {
	tick := w.first(jitter)
	next, pause := tick, firstPause
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	defer func() {
		if w.moment != nil {
			pr.moments.leave(*w.moment)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		early := next.Before(tick)
		a, known := pr.try(ctx, w, early, tick)
		if ctx.Err() != nil {
			return
		}
		if known && (a.ok || !early) && w.count(a.ok) && report(a.ok, a.output) {
			return
		}
		if !early {
			tick = pr.following(w, tick)
		}
		next = tick
		if at := time.Now().Add(pause); w.early && tick.Sub(at) >= firstPause {
			next, pause = at, min(2*pause, lastPause)
		}
		timer.Reset(time.Until(next))
	}
}

// following returns when the attempt after the one at tick is due. Attempts that
// took too long leave some out.
func (pr *Prober) following(w *watch, tick time.Time) time.Time {
	for now := time.Now(); !tick.After(now); {
		tick = tick.Add(w.period)
	}
	if w.lasts && w.moment == nil {
		var m moment
		m, tick = pr.moments.take(w.period, tick)
		w.moment = &m
	}
	return tick
}

// first returns when the first attempt is due: as soon as it may.
func (w *watch) first(jitter bool) time.Time {
	due := w.c.startedAt.Add(time.Duration(w.probe.InitialDelaySeconds) * time.Second)
	if now := time.Now(); due.Before(now) {
		due = now
	}
	if jitter {
		due = due.Add(rand.N(w.period))
	}
	return due
}

// execSlack is what the runtime gets to end a command that took too long.
const execSlack = 2 * time.Second

// maxTries is how often a probe that could not be made is made again at once.
const maxTries = 3

// try makes one attempt, and tells of one that fails in the words users know.
// An early one ends before the next period begins.
func (pr *Prober) try(ctx context.Context, w *watch, early bool, tick time.Time) (a answer, known bool) {
	limit := w.timeout
	if early {
		limit = min(limit, time.Until(tick))
	}
	var err error
	start := time.Now()
	for range maxTries {
		a, err = pr.attempt(ctx, w, limit)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	took := time.Since(start)
	switch {
	case ctx.Err() != nil || early && !a.ok:
	case err != nil:
		pr.tally.count(w, resultUnknown, took)
		pr.Event(w.c.pod, w.c.spec.Name, v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in unknown state: %s", w.name, err))
	case !a.ok:
		pr.tally.count(w, resultFailed, took)
		pr.Event(w.c.pod, w.c.spec.Name, v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", w.name, a.output))
	default:
		pr.tally.count(w, resultOK, took)
		if a.warning {
			pr.Event(w.c.pod, w.c.spec.Name, v1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", w.name, a.output))
		}
	}
	return a, err == nil
}

func (pr *Prober) attempt(ctx context.Context, w *watch, limit time.Duration) (answer, error) {
	if w.probe.Exec != nil {
		limit += execSlack
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return pr.handle(ctx, w.c, w.probe)
}

// count takes one answer and reports whether it makes another result.
func (w *watch) count(good bool) (changed bool) {
	if w.run == 0 || w.last != good {
		w.last, w.run = good, 0
	}
	w.run++
	threshold := cmp.Or(w.probe.FailureThreshold, 3)
	if good {
		threshold = w.probe.SuccessThreshold
	}
	if w.run < threshold || w.settled && w.good == good {
		return false
	}
	w.settled, w.good = true, good
	return true
}
