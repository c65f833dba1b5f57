package plan

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// RestartsAll reports whether c is the newest instance of its container and
// asks, by the way it exited, for all containers of the pod to start over
// (IC-19).
func RestartsAll(p *v1.Pod, have pod.Observed, c pod.Container) bool {
	if newest, _ := have.NewestOf(p.UID, c.Name); c.State != pod.Exited || c.ID != newest.ID {
		return false
	}
	d, ok := pod.Find(p, c.Name)
	if !ok || d.Kind == pod.Init && Completed(c) {
		return false
	}
	rule, matches := ruleFor(d, c)
	return matches && rule.Action == v1.ContainerRestartRuleActionRestartAllContainers
}

// restartedAll returns when a container first asked for all to start over, or the
// zero time. What ended after that was ended for it, and no end of the pod; a
// sidecar that asks once the pod has nothing more to do comes too late.
func restartedAll(p *v1.Pod, have pod.Observed) time.Time {
	var first time.Time
	for _, c := range have.Containers {
		if RestartsAll(p, have, c) && (first.IsZero() || c.FinishedAt.Before(first)) {
			first = c.FinishedAt
		}
	}
	return first
}

// restartAll ends and removes all containers if one of them asks for that, and
// reports whether it does. The one that asks is removed last: as long as it is
// there it is known that this has to be finished, so there is nothing to
// remember. There is no time for hooks; containers get their two seconds.
func (r *run) restartAll() bool {
	var regular, init, triggers []pod.Container
	for _, c := range r.have.Containers {
		switch {
		case c.SandboxID == r.sandbox.ID && RestartsAll(r.pod, r.have, c):
			triggers = append(triggers, c)
		case c.Kind == pod.Regular:
			regular = append(regular, c)
		case c.Kind != pod.Ephemeral:
			init = append(init, c)
		}
	}
	if len(triggers) == 0 {
		return false
	}
	const grace = 2 * time.Second
	h := how{why: "all containers restart", grace: func(pod.Container) time.Duration { return grace }}
	rest := append(regular, init...)
	if !r.kill(rest, h) {
		return true
	}
	for _, c := range rest {
		if !r.do(pod.RemoveContainer{Name: c.Name, ID: c.ID}) {
			return true
		}
	}
	for _, c := range triggers {
		r.do(pod.RemoveContainer{Name: c.Name, ID: c.ID})
	}
	return true
}
