package status

import (
	v1 "k8s.io/api/core/v1"
)

// mayRestartAll reports whether a container of the pod can make all of them
// restart. Only then is there a condition that tells about it.
func mayRestartAll(p *v1.Pod) bool {
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for _, c := range list {
			for _, rule := range c.RestartPolicyRules {
				if rule.Action == v1.ContainerRestartRuleActionRestartAllContainers {
					return true
				}
			}
		}
	}
	return false
}

// restartingAll reports whether containers are being removed because all of
// them restart, or have been since the last status: what asked for it is removed
// last, so then nothing of it is to be seen any more.
func (v *view) restartingAll() bool {
	before := condition(v.Prev.Conditions, v1.AllContainersRestarting)
	return v.trigger || mayRestartAll(v.Pod) && before != nil && before.Status == v1.ConditionTrue
}

// reset describes a container that was removed so that it can start over:
// waiting, with its count and its end carried over (IC-19).
func (v *view) reset(s *v1.ContainerStatus, prev v1.ContainerStatus) {
	s.State = waiting(restartingAll, "all containers of the pod restart")
	if prev.State.Waiting != nil {
		return // it was removed before the last status
	}
	s.RestartCount = prev.RestartCount + 1
	s.LastTerminationState = prev.State
	if prev.State.Terminated == nil {
		s.LastTerminationState = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			ExitCode: exitCodeKilled, Reason: restartingAll, Message: "stopped because all containers of the pod restart",
		}}
	}
}
