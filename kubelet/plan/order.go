package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"boot.internal/kubelet/pod"
)

// How tells how containers are to be killed.
type how struct {
	why   string
	grace func(pod.Container) time.Duration
	hook  bool // run preStop
}

// kill plans the kill of all the containers that may be running, in the order
// in which a pod ends: the kills are done at the same time, and After makes
// sidecars wait their turn (IC-32, IC-33). It reports whether nothing keeps the
// list from going on after the kills; if one of them has to wait, what comes
// after them has to wait too (IC-37).
func (s *step) kill(all []pod.Container, h how) bool {
	planned := true
	running := terminationOrder(all)
	for i, c := range running {
		planned = s.do(pod.KillContainer{
			Name: c.Name, ID: c.ID, Why: h.why, Grace: h.grace(c),
			Hook:  h.hook && c.PreStop != nil && c.State == pod.Running,
			After: waitsFor(c, running[:i]),
		}) && planned
	}
	return planned
}

// terminationOrder returns the containers that may be running (one in an
// unknown state may), sidecars behind all others and the last of them first.
// Containers that do not run are left out, so nothing ever waits for them
// (IC-35).
func terminationOrder(all []pod.Container) []pod.Container {
	var running []pod.Container
	for _, c := range all {
		if mayRun(c) {
			running = append(running, c)
		}
	}
	rank := map[pod.Kind]int{pod.Regular: 1, pod.Init: 2, pod.Ephemeral: 3, pod.Sidecar: 4}
	slices.SortFunc(running, func(a, b pod.Container) int {
		byIndex := cmp.Compare(a.Index, b.Index)
		if a.Kind == pod.Sidecar {
			byIndex = -byIndex
		}
		return cmp.Or(
			strings.Compare(string(a.PodUID), string(b.PodUID)),
			cmp.Compare(rank[a.Kind], rank[b.Kind]),
			byIndex,
			strings.Compare(a.ID, b.ID))
	})
	return running
}

// waitsFor returns which of the containers before c in the termination order
// have to exit before c gets its stop signal: a sidecar waits for the regular
// containers and the later sidecars of its pod, nothing else waits (IC-33).
func waitsFor(c pod.Container, before []pod.Container) []string {
	if c.Kind != pod.Sidecar {
		return nil
	}
	var ids []string
	for _, b := range before {
		later := b.Kind == pod.Sidecar && b.Index > c.Index
		if b.PodUID == c.PodUID && (b.Kind == pod.Regular || later) {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

func mayRun(c pod.Container) bool { return c.State == pod.Running || c.State == pod.Unknown }
