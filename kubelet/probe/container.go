package probe

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A container is one instance of a container with probes.
//
//	  no startup probe ───────────────┐
//	                                  ▼
//	startup probe ── success ──► liveness and readiness ── liveness fails ──► unhealthy
//	              └─ fails ─────────────────────────────────────────────────────┘
//
// From unhealthy, and once it has exited, no way leads back: the next one has
// another ID (IC-28).
type container struct {
	key       pod.Key
	pod       *v1.Pod
	spec      *v1.Container
	id, ip    string
	startedAt time.Time

	endAll    context.CancelFunc // ends the goroutines
	endHealth context.CancelFunc // ends startup and liveness alone

	// Guarded by the Prober's mutex.
	started, ready bool
	unhealthy      *pod.Unhealthy
	seeded         bool // known from before this process
	answered       bool // a probe has come to a result
	asked          bool // the readiness probe has
	ended          bool
}

// verdict returns what others are to know.
func (c *container) verdict() pod.Verdict {
	return pod.Verdict{
		Started: c.started, Ready: c.started && c.ready && !c.ended, Unhealthy: c.unhealthy,
		Unasked: c.started && c.spec.ReadinessProbe != nil && !c.asked && !c.seeded && !c.ended,
	}
}

// known reports whether c says anything: a probe has answered, or did before, or
// none of those that count is there.
func (c *container) known() bool {
	return c.answered || c.seeded || c.ended || c.spec.StartupProbe == nil && c.spec.ReadinessProbe == nil
}

// end ends all probes; the container is not ready from now on.
func (c *container) end() {
	c.endAll()
	c.ended = true
}

// run probes c until ctx ends; startup and liveness until health ends.
func (pr *Prober) run(ctx, health context.Context, c *container) {
	pr.mu.Lock()
	started, ready, seeded := c.started, c.ready, c.seeded
	pr.mu.Unlock()
	if !started && !pr.startup(health, c) {
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	if c.spec.LivenessProbe != nil {
		wg.Go(func() { pr.liveness(health, c, seeded) })
	}
	if c.spec.ReadinessProbe != nil {
		pr.readiness(ctx, c, ready, seeded)
	}
}

// startup returns whether the container started. The first liveness and
// readiness probes follow at once.
func (pr *Prober) startup(ctx context.Context, c *container) (ok bool) {
	w := newWatch(c, "Startup", c.spec.StartupProbe)
	w.early = isCheap(c.spec.StartupProbe)
	pr.watch(ctx, w, false, func(good bool, output string) (done bool) {
		ok = pr.update(ctx, c, func() {
			if good {
				c.started = true
			} else {
				c.unhealthy = unhealthy(c.spec.StartupProbe, "startup", output)
			}
		}) && good
		return true
	})
	return ok
}

// isCheap reports whether a probe may be tried more often than it was asked for:
// a process in the container costs that too much.
func isCheap(p *v1.Probe) bool { return p.Exec == nil }

// liveness ends when the container is found dead.
func (pr *Prober) liveness(ctx context.Context, c *container, seeded bool) {
	w := newWatch(c, "Liveness", c.spec.LivenessProbe)
	w.settled, w.good, w.lasts = true, true, true
	pr.watch(ctx, w, seeded, func(good bool, output string) (done bool) {
		if !good {
			pr.update(ctx, c, func() { c.unhealthy = unhealthy(c.spec.LivenessProbe, "liveness", output) })
		}
		return !good
	})
}

// readiness goes on until the container has exited.
func (pr *Prober) readiness(ctx context.Context, c *container, ready, seeded bool) {
	w := newWatch(c, "Readiness", c.spec.ReadinessProbe)
	w.settled, w.good, w.lasts = seeded, ready, true
	w.early = !ready && isCheap(c.spec.ReadinessProbe) && w.probe.SuccessThreshold <= 1
	pr.watch(ctx, w, seeded && ready, func(good bool, _ string) (done bool) {
		w.early = w.early && !good
		pr.update(ctx, c, func() { c.ready, c.asked = good, true })
		return false
	})
}

func unhealthy(p *v1.Probe, name, output string) *pod.Unhealthy {
	u := &pod.Unhealthy{Probe: name, Message: output}
	if s := p.TerminationGracePeriodSeconds; s != nil {
		grace := time.Duration(*s) * time.Second
		u.Grace = &grace
	}
	return u
}
