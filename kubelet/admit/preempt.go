package admit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// critical is the least priority of a critical pod: that of
// system-cluster-critical.
const critical = 2_000_000_000

// IsCritical reports whether a node has to run a pod before others: one that is
// static or a mirror (SP-32), or has the priority of a system class.
func IsCritical(p *v1.Pod) bool {
	return pod.IsStatic(p) || pod.IsMirror(p) || ptr.Deref(p.Spec.Priority, 0) >= critical
}

// Victims returns which of the others have to end so that a critical pod gets
// what it lacks. There are none if p is not critical, lacks nothing or is kept
// out by anything else, or if not even all of those that matter less than p hold
// enough.
//
// Who has to go is the kubelet's choice: rather best-effort pods than burstable
// ones, and those rather than guaranteed ones; of each class as few as possible,
// and of the same number the smallest.
func Victims(p *v1.Pod, others []*v1.Pod, n Node) []*v1.Pod {
	others = competing(p, others)
	if !IsCritical(p) || checkPressure(p, n) != nil || checkSysctls(p, n) != nil || checkOS(p) != nil || checkGroups(p, n) != nil ||
		checkAffinity(p, n) != nil || checkName(p, n) != nil || checkPorts(p, others) != nil || checkTaints(p, n) != nil {
		return nil
	}
	return victims(p, others, lacking(p, others, n.Allocatable))
}

// tooMuch rejects a critical pod that cannot get what it lacks from others. One
// that can is rejected only until the others are gone.
func tooMuch(p *v1.Pod, others []*v1.Pod, lacks []lack) *Rejection {
	if len(victims(p, others, lacks)) > 0 {
		return rejectionOf(lacks)
	}
	var text strings.Builder
	for _, need := range without(needsOf(lacks), preemptable(p, others)) {
		_, _ = fmt.Fprintf(&text, "(res: %s, q: %d), ", need.name, need.amount)
	}
	return &Rejection{"UnexpectedAdmissionError", "Unexpected error while attempting to recover from admission failure: " +
		"preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [" + text.String() + "]"}
}

// A need is so much of a resource.
type need struct {
	name   v1.ResourceName
	amount int64 // in the units of lack
}

func needsOf(lacks []lack) []need {
	var all []need
	for _, l := range lacks {
		all = append(all, need{l.name, l.missing()})
	}
	return all
}

func victims(p *v1.Pod, others []*v1.Pod, lacks []lack) []*v1.Pod {
	needs, all := needsOf(lacks), preemptable(p, others)
	if len(needs) == 0 || len(without(needs, all)) > 0 {
		return nil
	}
	of := func(class v1.PodQOSClass) []*v1.Pod {
		return slices.DeleteFunc(slices.Clone(all), func(o *v1.Pod) bool { return status.QOSClass(o) != class })
	}
	least, middle := of(v1.PodQOSBestEffort), of(v1.PodQOSBurstable)
	guaranteed := nearest(of(v1.PodQOSGuaranteed), without(needs, slices.Concat(least, middle)))
	burstable := nearest(middle, without(needs, slices.Concat(least, guaranteed)))
	return slices.Concat(nearest(least, without(needs, slices.Concat(burstable, guaranteed))), burstable, guaranteed)
}

// preemptable returns the others that matter less than p.
func preemptable(p *v1.Pod, others []*v1.Pod) []*v1.Pod {
	var all []*v1.Pod
	for _, o := range others {
		less := p.Spec.Priority != nil && o.Spec.Priority != nil && *p.Spec.Priority > *o.Spec.Priority
		if !pod.IsStatic(o) && (!IsCritical(o) || less) {
			all = append(all, o)
		}
	}
	return all
}

// without returns what is still needed once pods are gone.
func without(needs []need, gone []*v1.Pod) []need {
	var left []need
	for _, n := range needs {
		for _, p := range gone {
			n.amount -= amounts(p)[n.name]
		}
		if n.amount > 0 {
			left = append(left, n)
		}
	}
	return left
}

// nearest picks pods until nothing is needed, each time the one that leaves the
// least to be wished for. There must be enough of them.
func nearest(from []*v1.Pod, needs []need) []*v1.Pod {
	var picked []*v1.Pod
	for len(needs) > 0 && len(from) > 0 {
		best := slices.MinFunc(from, func(a, b *v1.Pod) int {
			return cmp.Or(cmp.Compare(distance(a, needs), distance(b, needs)), bySize(a, b))
		})
		picked = append(picked, best)
		needs = without(needs, []*v1.Pod{best})
		from = slices.DeleteFunc(slices.Clone(from), func(p *v1.Pod) bool { return p == best })
	}
	return picked
}

// distance is how far the end of a pod is from what is needed: the sum of the
// squares of the parts that would still be missing.
func distance(p *v1.Pod, needs []need) float64 {
	sum, has := 0.0, amounts(p)
	for _, n := range needs {
		if left := n.amount - has[n.name]; left > 0 {
			part := float64(left) / float64(n.amount)
			sum += part * part
		}
	}
	return sum
}

// bySize puts those that ask for less memory first, then those for less CPU.
func bySize(a, b *v1.Pod) int {
	has, other := amounts(a), amounts(b)
	return cmp.Or(
		cmp.Compare(has[v1.ResourceMemory], other[v1.ResourceMemory]),
		cmp.Compare(has[v1.ResourceCPU], other[v1.ResourceCPU]),
	)
}
