// Package plan decides what to do next for one pod. It is a pure function of
// what is wanted, what there is and the time: it does no I/O, takes no lock,
// reads no clock and writes no log. How to do a thing, when to look again after
// a failure, and what to tell the API are left to others.
//
// A plan is one step, not the way to the goal: its actions are done in order,
// then the pod is looked at again and planned anew. So nothing needs to be
// remembered between two plans, and a restart of boot loses nothing.
//
// Reading order: plan.go (whether the pod runs or ends), teardown.go and
// order.go (how it ends), run.go and initcontainers.go (how it is kept running),
// restart.go, restartall.go and backoff.go (what becomes of a container that
// ended), sandbox.go (where it lives), collect.go (what is cleared away).
package plan

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// A Planner plans for pods. The zero Planner has the defaults of the kubelet.
type Planner struct {
	// MaxBackoff is the longest wait between two starts of a crashing container
	// (KubeletConfiguration.crashLoopBackOff.maxContainerRestartPeriod); 0 is
	// five minutes.
	MaxBackoff time.Duration
}

// Next is what to do now, and when to look again if nothing else happens first.
type Next struct {
	// Actions are done in order. Neighbouring KillContainers are done at the
	// same time. An action that fails ends the list.
	Actions []pod.Action
	// Wake is when the plan changes by itself; 0: only an event can change it.
	Wake time.Duration
	// Done is set once nothing of a wanted pod runs and nothing ever will: what it
	// holds on the node, but for what tells of its end, may be released.
	Done bool
	// Gone is set once nothing is left of what had to go: the worker may end,
	// or, where something is wanted, forget Stopping and plan afresh.
	Gone bool
}

// For plans one step with the defaults of the kubelet.
func For(want *pod.Want, have pod.Observed, now time.Time) Next {
	return Planner{}.For(want, have, now)
}

// For plans one step for one key. want is nil once the pod is to be gone.
//
//	           want changes its UID            want is nil
//	running ─────────────────────────► ending ◄──────────── running
//	   ▲                                 │ Gone
//	   └───────── want is not nil ───────┴──── want is nil ──► no more
//
// What is of another UID goes first, whatever is wanted (SP-37, SP-38). A pod
// whose tear-down began goes to its end, even if it is wanted again meanwhile
// (SP-41). A pod that is to stop keeps its dead containers, because their exit
// codes are still to be told.
func (p Planner) For(want *pod.Want, have pod.Observed, now time.Time) Next {
	s := step{have: have, now: now}
	switch {
	case want == nil:
		s.remove(everything, "pod removed")
	case has(have, others(want)):
		s.remove(others(want), "pod replaced")
	case want.Stop != nil:
		s.stop(want)
	case !have.Stopping.IsZero():
		s.remove(everything, "pod removed")
	default:
		run := newRun(s, p, want.Pod)
		run.plan()
		return run.next
	}
	return s.next
}

// Ending reports whether a plan for want and have ends something rather than
// runs a pod. The worker sets Observed.Stopping to the time of the first look at
// which it does, and forgets it at Gone. While a pod of another UID is being
// torn down beside one that is wanted and there already, nothing of the wanted
// one ends, so that does not count.
func Ending(want *pod.Want, have pod.Observed) bool {
	if want == nil || want.Stop != nil {
		return true
	}
	return has(have, others(want)) && !has(have, func(uid types.UID) bool { return uid == want.Pod.UID })
}

func everything(types.UID) bool { return true }

func others(want *pod.Want) func(types.UID) bool {
	return func(uid types.UID) bool { return uid != want.Pod.UID }
}

// has reports whether there is anything of the UIDs.
func has(have pod.Observed, mine func(types.UID) bool) bool {
	for _, s := range have.Sandboxes {
		if mine(s.UID) {
			return true
		}
	}
	for _, c := range have.Containers {
		if mine(c.PodUID) {
			return true
		}
	}
	return false
}
