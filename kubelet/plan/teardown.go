package plan

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// minGrace is the least a container is given once its pod ends, however long
// ago that began (SP-44).
const minGrace = time.Second

// remove ends whatever is of the UIDs and removes every trace of it. What the
// containers were made with stands on them, so this works for pods whose
// manifest nobody knows any more.
func (s *step) remove(mine func(types.UID) bool, why string) {
	containers := containersOf(s.have, mine)
	if !s.kill(containers, s.ending(why, graceOfContainer)) {
		return
	}
	housed := map[string]bool{}
	for _, b := range s.have.Sandboxes {
		if mine(b.UID) {
			housed[b.ID] = true
			s.discard(b, why)
		}
	}
	for _, c := range containers { // a sandbox takes its containers with it
		if !housed[c.SandboxID] {
			s.do(pod.RemoveContainer{Name: c.Name, ID: c.ID})
		}
	}
	s.next.Gone = !has(s.have, everything)
}

// stop ends the containers of a pod that stays known. What is dead is kept for
// its status and its logs.
func (s *step) stop(want *pod.Want) {
	why := "pod deleted"
	if want.Stop.Reason != "" {
		why = want.Stop.Reason
	}
	grace := func(pod.Container) time.Duration { return want.Stop.Grace }
	s.close(s.ending(why, grace))
	s.next.Done = s.settled()
}

// settled reports whether nothing runs and nothing is left to do about it: an
// action that has to wait for its time is still to come.
func (s *step) settled() bool {
	return len(s.next.Actions) == 0 && !slices.ContainsFunc(s.have.Containers, mayRun) &&
		!slices.ContainsFunc(s.have.Sandboxes, func(b pod.Sandbox) bool { return b.Ready })
}

// close kills what runs and then stops the sandboxes that are still up.
func (s *step) close(h how) {
	if !s.kill(s.have.Containers, h) {
		return
	}
	for _, b := range s.have.Sandboxes {
		if b.Ready {
			s.do(pod.StopSandbox{ID: b.ID, UID: b.UID, Why: h.why})
		}
	}
}

// discard stops and removes a sandbox. One that is not ready is stopped too: its
// network may still be there.
func (s *step) discard(b pod.Sandbox, why string) {
	if s.do(pod.StopSandbox{ID: b.ID, UID: b.UID, Why: why}) {
		s.do(pod.RemoveSandbox{ID: b.ID, UID: b.UID})
	}
}

// ending returns how containers are killed while their pod ends. What has
// passed since it began comes off the grace, so a list of actions that was cut
// short by a shorter grace goes on with what is left of that (SP-44). For the
// same reason preStop hooks are run only by the first list: where that was cut
// short they ran already, or were running and had their chance.
func (s *step) ending(why string, grace func(pod.Container) time.Duration) how {
	var passed time.Duration
	if !s.have.Stopping.IsZero() {
		passed = max(s.now.Sub(s.have.Stopping), 0)
	}
	return how{
		why:   why,
		hook:  passed == 0,
		grace: func(c pod.Container) time.Duration { return max(grace(c)-passed, minGrace) },
	}
}

func graceOfContainer(c pod.Container) time.Duration { return c.Grace }

func containersOf(have pod.Observed, mine func(types.UID) bool) []pod.Container {
	var all []pod.Container
	for _, c := range have.Containers {
		if mine(c.PodUID) {
			all = append(all, c)
		}
	}
	return all
}
