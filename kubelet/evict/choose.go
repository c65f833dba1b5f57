package evict

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"
)

// rank sorts pods by who has to go first: for memory and disk those that use more
// than they asked for, then those of the lowest priority, then those that are the
// furthest above what they asked for; for processes by priority and number. A
// pod of which nothing is known goes before all others, but for priority.
func rank(s Signal, pods []*v1.Pod, used Usages, l Layout) []*v1.Pod {
	amount := func(p *v1.Pod) int64 { return amountOf(s, p, used[p.UID], l) }
	order := func(a, b *v1.Pod) int {
		above := func(p *v1.Pod) int64 { return amount(p) - request(p, s.resource()) }
		return cmp.Or(
			yesFirst(above(a) > 0, above(b) > 0),
			cmp.Compare(priority(a), priority(b)),
			cmp.Compare(above(b), above(a)),
		)
	}
	if s.resource() == pids {
		order = func(a, b *v1.Pod) int {
			return cmp.Or(cmp.Compare(priority(a), priority(b)), cmp.Compare(amount(b), amount(a)))
		}
	}
	return slices.SortedStableFunc(slices.Values(pods), func(a, b *v1.Pod) int {
		_, knownA := used[a.UID]
		_, knownB := used[b.UID]
		if s.resource() != pids && (!knownA || !knownB) {
			return cmp.Or(yesFirst(!knownA, !knownB), cmp.Compare(priority(a), priority(b)))
		}
		return order(a, b)
	})
}

// amountOf returns how much a pod uses of what a signal is about.
func amountOf(s Signal, p *v1.Pod, u Usage, l Layout) int64 {
	switch s.resource() {
	case v1.ResourceMemory:
		return u.Memory
	case pids:
		return u.Processes
	}
	return u.disk(p, l.share(s)).of(s.resource())
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func priority(p *v1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

// request returns how much a pod asked for: the pod itself, where that says so.
// Overhead counts only on top of something.
func request(p *v1.Pod, what v1.ResourceName) int64 {
	all := helper.PodRequests(p, helper.PodResourcesOptions{
		SkipContainerLevelResources: helper.IsPodLevelResourcesSet(p), ExcludeOverhead: true,
	})
	q := all[what]
	if over, ok := p.Spec.Overhead[what]; ok && !q.IsZero() {
		q.Add(over)
	}
	return q.Value()
}

// An Eviction is a pod that has to go, with all that is told of it.
type Eviction struct {
	Pod         *v1.Pod
	Grace       int64 // seconds
	Cause       string
	Message     string            // of the status and of the event
	Annotations map[string]string // of the event; may be nil
	// Disrupted is set where the pod is a victim, not to blame for breaking a limit
	// of its own: it gets the condition DisruptionTarget.
	Disrupted bool
}

// graceHard is how long a pod has, in seconds, when there is no time.
const graceHard = 1

// Choose returns the pod to be evicted for the first of the starved thresholds;
// nil if there is none that may be. maxGrace is in seconds and counts for soft
// thresholds alone.
func Choose(starved []Threshold, seen Levels, pods []*v1.Pod, used Usages, l Layout, maxGrace int64) *Eviction {
	if len(starved) == 0 || len(pods) == 0 {
		return nil
	}
	t := starved[0]
	p := rank(t.Signal, pods, used, l)[0]
	e := &Eviction{Pod: p, Grace: graceHard, Cause: string(t.Signal), Disrupted: true}
	if !t.hard() {
		e.Grace = maxGrace
		if own := p.Spec.TerminationGracePeriodSeconds; own != nil {
			e.Grace = min(e.Grace, *own)
		}
	}
	u, known := used[p.UID]
	e.Message, e.Annotations = explain(t.Signal.resource(), starved, seen), map[string]string{}
	if known {
		e.blame(t.Signal.resource(), u)
	}
	return e
}

// inUnits returns an amount as it is told.
func inUnits(n int64, what v1.ResourceName) *resource.Quantity {
	if what == inodes || what == pids {
		return resource.NewQuantity(n, resource.DecimalSI)
	}
	return resource.NewQuantity(n, resource.BinarySI)
}
