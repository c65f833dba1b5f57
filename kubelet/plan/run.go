package plan

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A run is a step of a pod that is to run. Everything there is belongs to it.
type run struct {
	step
	planner  Planner
	pod      *v1.Pod
	declared []pod.Declared
	sandbox  pod.Sandbox  // the newest
	fault    SandboxFault // why it cannot be used
}

func newRun(s step, p Planner, v *v1.Pod) *run {
	r := &run{step: s, planner: p, pod: v, declared: pod.Containers(v)}
	r.sandbox, r.fault = Sandbox(v, s.have)
	return r
}

// plan keeps the pod going, or ends it once it has nothing more to do. What is
// left over is cleared away when there is nothing else to do, so that nothing
// ever waits for that.
func (r *run) plan() {
	over := Over(r.pod, r.have)
	switch {
	case over:
		r.close(r.killing("pod finished"))
	case r.fault != "":
		r.renew()
	default:
		if done := r.endStrays() || r.restartAll(); !done {
			r.keep()
		}
	}
	if len(r.next.Actions) == 0 {
		r.collect()
	}
	r.next.Done = over && r.settled()
}

// keep brings every container into the state it should be in: ephemeral ones
// first, for they do not wait for anything (IC-11), then init containers, then,
// once those are through, regular ones (IC-4). What runs is resized last.
func (r *run) keep() {
	for _, d := range r.of(pod.Ephemeral) {
		if _, ran := r.have.NewestOf(r.pod.UID, d.Name); !ran {
			r.start(d, "")
		}
	}
	if r.initialise() {
		for _, d := range r.of(pod.Regular) {
			r.keepRunning(d)
		}
	}
	r.resize()
}

// keepRunning starts a regular container or a sidecar that does not run, and
// ends one that runs but is not as it should be.
func (r *run) keepRunning(d pod.Declared) {
	c, ok := r.have.NewestOf(r.pod.UID, d.Name)
	switch {
	case !ok:
		r.start(d, "")
	case c.State == pod.Unknown: // perhaps it runs: never have two of them
		r.replace(d, c, "is in unknown state")
	case c.State == pod.Running && c.Hash != pod.ContainerHash(r.pod, d.Container):
		r.replace(d, c, "definition changed")
	case c.State == pod.Running && r.resized(d) == byRestart:
		r.replace(d, c, "resize requires restart")
	case c.State == pod.Running:
		r.checkHealth(d, c)
	case c.State == pod.Created:
		r.start(d, "was created but not started")
	case Restarts(r.pod, r.have, d, c):
		r.restart(d, c)
	}
}

// replace kills an instance and starts its successor, without back-off: it was
// not the container that failed. The policy does not matter either (IC-17).
func (r *run) replace(d pod.Declared, c pod.Container, why string) {
	h := r.killing(why + ", will be restarted")
	if r.do(pod.KillContainer{Name: c.Name, ID: c.ID, Why: h.why, Grace: h.grace(c), Hook: runsHook(c)}) {
		r.start(d, why)
	}
}

// checkHealth kills a container whose probe failed for good, with the grace of
// that probe. What its policy makes of that is decided when it is dead (IC-15,
// IC-16).
func (r *run) checkHealth(d pod.Declared, c pod.Container) {
	sick := r.have.Probes[c.ID].Unhealthy
	if sick == nil {
		return
	}
	why := "failed " + sick.Probe + " probe"
	if policy(r.pod, d) != v1.ContainerRestartPolicyNever {
		why += ", will be restarted"
	}
	grace := pod.Grace(r.pod)
	if sick.Grace != nil {
		grace = *sick.Grace
	}
	r.do(pod.KillContainer{Name: c.Name, ID: c.ID, Why: why, Grace: grace, Hook: runsHook(c)})
}

// endStrays kills what should not run at all: instances in a sandbox that is no
// longer the pod's, ones that have a successor, and containers that are no longer
// in the spec. It reports whether there are any: then that comes first, so that
// there are never two of a container.
func (r *run) endStrays() bool {
	var strays []pod.Container
	for _, c := range r.have.Containers {
		newest, _ := r.have.NewestOf(r.pod.UID, c.Name)
		if mayRun(c) && (!r.declares(c.Name) || c.ID != newest.ID || c.SandboxID != r.sandbox.ID) {
			strays = append(strays, c)
		}
	}
	if r.kill(strays, r.killing("no longer of the pod")) {
		for _, c := range strays {
			if c.State == pod.Unknown { // the kill may leave it in that state
				r.do(pod.RemoveContainer{Name: c.Name, ID: c.ID})
			}
		}
	}
	return len(strays) > 0
}

// start plans the start of the next instance of a container.
func (r *run) start(d pod.Declared, why string) {
	a := pod.StartContainer{Name: d.Name, Sandbox: r.sandbox, Why: why}
	if last, ok := r.have.NewestOf(r.pod.UID, d.Name); ok {
		a.Attempt = last.Attempt + 1
		if last.Hash == pod.ContainerHash(r.pod, d.Container) {
			a.Backoff = r.planner.nextBackoff(last)
		}
	}
	r.do(a)
}

// killing returns how containers are killed while the pod lives.
func (r *run) killing(why string) how {
	return how{why: why, hook: true, grace: func(pod.Container) time.Duration { return pod.Grace(r.pod) }}
}

// of returns the containers of the pod of some kinds.
func (r *run) of(kinds ...pod.Kind) []pod.Declared {
	var some []pod.Declared
	for _, d := range r.declared {
		for _, k := range kinds {
			if d.Kind == k {
				some = append(some, d)
			}
		}
	}
	return some
}

func (r *run) declares(name string) bool {
	return slices.ContainsFunc(r.declared, func(d pod.Declared) bool { return d.Name == name })
}

func runsHook(c pod.Container) bool { return c.PreStop != nil && c.State == pod.Running }
