package plan

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// initialise brings the init containers and sidecars one step further and
// reports whether regular containers may run.
//
//	passed          front           not yet
//	i0  s1  i2      s3              i4  …
//
// The front is the last one that has an instance in this sandbox: what stands
// before it was passed once, so of that only sidecars matter (IC-7). Where a
// regular container was ever started in this sandbox, all were passed (IC-8).
func (r *run) initialise() bool {
	inits := r.of(pod.Init, pod.Sidecar)
	front := r.front(inits)
	for i, d := range inits {
		switch {
		case i < front:
			if d.Kind == pod.Sidecar {
				r.keepRunning(d)
			}
		case i > front:
			r.start(d, "")
			return false
		case !r.pass(d):
			return false
		}
	}
	return true
}

// front returns the index of the last init container or sidecar with an
// instance in this sandbox, -1 if there is none, and a number beyond the last
// if the pod is initialised.
func (r *run) front(inits []pod.Declared) int {
	if Initialised(r.pod, r.have, r.sandbox) {
		return len(inits)
	}
	for i := len(inits) - 1; i >= 0; i-- {
		if _, ok := r.have.Newest(r.sandbox.ID, inits[i].Name); ok {
			return i
		}
	}
	return -1
}

// pass works on the container at the front and reports whether the next one may
// start: after a plain one exited with 0, or a sidecar started (IC-5).
func (r *run) pass(d pod.Declared) bool {
	c, _ := r.have.Newest(r.sandbox.ID, d.Name)
	if d.Kind == pod.Sidecar {
		r.keepRunning(d)
		return Started(d, r.have, c)
	}
	switch {
	case Completed(c):
		return true
	case c.State == pod.Unknown:
		r.replace(d, c, "is in unknown state")
	case c.State == pod.Created: // IC-9
		r.start(d, "was created but not started")
	case c.State == pod.Exited:
		r.restart(d, c)
	}
	return false // a running one is waited for, even if its image changed (IC-17)
}

// Initialised reports whether a regular container was ever made in the sandbox:
// then all init containers were passed, even if the runtime has forgotten them
// (IC-8).
func Initialised(p *v1.Pod, have pod.Observed, sandbox pod.Sandbox) bool {
	for _, c := range have.Containers {
		if c.PodUID == p.UID && c.SandboxID == sandbox.ID && c.Kind == pod.Regular {
			return true
		}
	}
	return false
}

// Started reports whether an instance of a container has started: it runs, and
// its startup probe, if it has one, succeeded (IC-6).
func Started(d pod.Declared, have pod.Observed, c pod.Container) bool {
	return c.State == pod.Running && (d.StartupProbe == nil || have.Probes[c.ID].Started)
}

// Completed reports whether an instance ended well (IC-12).
func Completed(c pod.Container) bool { return c.State == pod.Exited && !c.Failed() }
