package plan

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Crash-loop back-off is kept in the runtime: an instance carries how long its
// successor has to wait, fixed when it was made, so a restart of boot changes
// nothing (IC-20).
const (
	firstBackoff = 10 * time.Second
	maxBackoff   = 5 * time.Minute
	// settled is how long an instance has to run for the crashes before it to be
	// forgotten. It does not depend on MaxBackoff: with a short one, a container
	// that crashes every few seconds would never count as crashing.
	settled = 10 * time.Minute
)

// restart plans the next instance of a container that exited, now or when its
// back-off has passed.
func (r *run) restart(d pod.Declared, c pod.Container) {
	if wait := BackoffLeft(r.pod, d, c, r.now); wait > 0 {
		r.wakeAt(r.now.Add(wait))
		return
	}
	why := fmt.Sprintf("exited with %d", c.ExitCode)
	if c.Reason == "OOMKilled" {
		why = "out of memory"
	}
	r.start(d, why)
}

// BackoffLeft returns how long the successor of an exited instance has still to
// wait. The wait begins when the instance ended, and is never longer than its
// back-off, should the clock have been set back since. A new definition does not
// wait for the crashes of the old one (IC-21).
func BackoffLeft(p *v1.Pod, d pod.Declared, c pod.Container, now time.Time) time.Duration {
	wait := backoffAfter(c)
	if left := c.FinishedAt.Add(wait).Sub(now); left < wait {
		wait = left
	}
	if wait <= 0 || c.Hash != pod.ContainerHash(p, d.Container) {
		return 0
	}
	return wait
}

// backoffAfter returns how long to wait after an instance.
func backoffAfter(c pod.Container) time.Duration {
	if !c.StartedAt.IsZero() && c.FinishedAt.Sub(c.StartedAt) > settled {
		return 0
	}
	return c.Backoff
}

// nextBackoff returns the back-off of the instance that follows c.
func (p Planner) nextBackoff(c pod.Container) time.Duration {
	most := p.MaxBackoff
	if most <= 0 {
		most = maxBackoff
	}
	return min(max(2*backoffAfter(c), firstBackoff), most)
}
