package plan

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Over reports whether p has nothing more to do: it ended in the API, or an
// init container failed for good (IC-13), or no regular container is left to
// keep or to start. Sidecars do not keep a pod alive (IC-18).
func Over(p *v1.Pod, have pod.Observed) bool {
	if p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed {
		return true
	}
	sandbox, fault := Sandbox(p, have)
	if fault != "" && fault != SandboxMissing && ranOnce(p, have) {
		return true
	}
	initialised := Initialised(p, have, sandbox)
	all := restartedAll(p, have)
	work := false
	for _, d := range pod.Containers(p) {
		c, ok := have.NewestOf(p.UID, d.Name)
		switch d.Kind {
		case pod.Regular:
			work = work || !ok || !ended(p, have, d, c) || !all.IsZero() && c.FinishedAt.After(all)
		case pod.Init:
			if ok && !initialised && c.SandboxID == sandbox.ID && !Completed(c) && ended(p, have, d, c) {
				return true
			}
		}
	}
	return !work
}

// ranOnce reports whether p may not be given a second sandbox, because it is
// never restarted and something of it already ran (IC-24).
func ranOnce(p *v1.Pod, have pod.Observed) bool {
	for _, d := range pod.Containers(p) {
		if d.Kind != pod.Sidecar && d.RestartPolicy != nil {
			return false // it says itself whether it runs again
		}
	}
	ran := func(c pod.Container) bool { return c.PodUID == p.UID }
	return p.Spec.RestartPolicy == v1.RestartPolicyNever && slices.ContainsFunc(have.Containers, ran)
}

// ended reports whether an instance is the last one of its container.
func ended(p *v1.Pod, have pod.Observed, d pod.Declared, c pod.Container) bool {
	switch c.State {
	case pod.Exited:
		return !Restarts(p, have, d, c)
	case pod.Unknown: // there is no exit code to ask rules about (IC-9)
		return d.Kind == pod.Init && policy(p, d) == v1.ContainerRestartPolicyNever
	}
	return false
}

// Restarts reports whether a container whose newest instance c has exited is to
// run again.
func Restarts(p *v1.Pod, have pod.Observed, d pod.Declared, c pod.Container) bool {
	if d.Kind == pod.Ephemeral {
		return false // IC-11
	}
	if d.Kind == pod.Init && Completed(c) {
		return false
	}
	if _, matches := ruleFor(d, c); matches {
		return true // both actions there are start it again
	}
	switch policy(p, d) {
	case v1.ContainerRestartPolicyNever:
		return false
	case v1.ContainerRestartPolicyOnFailure:
		// One that was killed by its probe has failed, however well it went (IC-16).
		return c.Failed() || have.Probes[c.ID].Unhealthy != nil
	}
	return true
}

// policy returns the restart policy of a container: its own, or the pod's.
func policy(p *v1.Pod, d pod.Declared) v1.ContainerRestartPolicy {
	if d.RestartPolicy != nil {
		return *d.RestartPolicy
	}
	return v1.ContainerRestartPolicy(p.Spec.RestartPolicy)
}

// ruleFor returns the first restart rule that covers the exit of c (KEP-5307).
func ruleFor(d pod.Declared, c pod.Container) (v1.ContainerRestartRule, bool) {
	for _, rule := range d.RestartPolicyRules {
		if rule.ExitCodes == nil {
			continue
		}
		in := slices.Contains(rule.ExitCodes.Values, c.ExitCode)
		switch rule.ExitCodes.Operator {
		case v1.ContainerRestartRuleOnExitCodesOpIn:
			if in {
				return rule, true
			}
		case v1.ContainerRestartRuleOnExitCodesOpNotIn:
			if !in {
				return rule, true
			}
		}
	}
	return v1.ContainerRestartRule{}, false
}
