package plan

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A SandboxFault says why the sandbox of a pod cannot be used, in the words of
// the condition PodReadyToStartContainers.
type SandboxFault string

// The faults a sandbox can have (IC-22).
const (
	SandboxMissing     SandboxFault = "no pod sandbox exists"
	SandboxTooMany     SandboxFault = "multiple pod sandboxes are ready and need to be reconciled"
	SandboxNotReady    SandboxFault = "pod sandbox is not ready"
	SandboxOtherNetNS  SandboxFault = "network namespace mode changed and sandbox needs to be recreated"
	SandboxWithoutAnIP SandboxFault = "pod sandbox has no IP address"
)

// Sandbox returns the sandbox in which the containers of p run or are to run,
// or what is wrong with the newest one there is.
func Sandbox(p *v1.Pod, have pod.Observed) (pod.Sandbox, SandboxFault) {
	ready := 0
	for _, b := range have.Sandboxes {
		if b.UID == p.UID && b.Ready {
			ready++
		}
	}
	newest, ok := have.Sandbox(p.UID)
	switch {
	case !ok:
		return newest, SandboxMissing
	case ready > 1:
		return newest, SandboxTooMany
	case !newest.Ready:
		return newest, SandboxNotReady
	case newest.HostNetwork != pod.IsHostNetwork(p):
		return newest, SandboxOtherNetNS
	case !newest.HostNetwork && len(newest.IPs) == 0:
		return newest, SandboxWithoutAnIP
	}
	return newest, ""
}

// renew ends everything in sandboxes that cannot be used, clears away the init
// containers, which all run again, and makes a new sandbox (IC-23). Regular
// containers that died stay in their old sandbox, for their status and logs.
func (r *run) renew() {
	why := "sandbox changed"
	if !r.kill(r.have.Containers, r.killing(why)) {
		return
	}
	for i, b := range r.have.Sandboxes {
		if b.Ready || i == 0 { // the network of one that is not ready may still be there
			r.do(pod.StopSandbox{ID: b.ID, UID: b.UID, Why: why})
		}
	}
	for _, c := range r.have.Containers {
		if c.Kind == pod.Init || c.Kind == pod.Sidecar {
			r.do(pod.RemoveContainer{Name: c.Name, ID: c.ID})
		}
	}
	var attempt uint32
	if r.fault != SandboxMissing {
		attempt = r.sandbox.Attempt + 1
	}
	r.do(pod.CreateSandbox{Attempt: attempt})
}
