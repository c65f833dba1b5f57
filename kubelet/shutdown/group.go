package shutdown

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/pod"
)

// critical is the least priority of pods that a cluster cannot do without.
const critical = 2_000_000_000

// A Group is the pods of a priority, up to that of the next group.
type Group struct {
	Priority int32
	Grace    time.Duration // to end in
}

// Groups returns the groups that a configuration makes, the least important first;
// none if pods are not to be ended in time.
func Groups(c *kubeletv1beta1.KubeletConfiguration) []Group {
	var all []Group
	for _, p := range c.ShutdownGracePeriodByPodPriority {
		all = append(all, Group{p.Priority, time.Duration(p.ShutdownGracePeriodSeconds) * time.Second})
	}
	rest := c.ShutdownGracePeriod.Duration - c.ShutdownGracePeriodCriticalPods.Duration
	if len(all) == 0 && c.ShutdownGracePeriod.Duration > 0 && rest >= 0 {
		all = []Group{{0, rest}, {critical, c.ShutdownGracePeriodCriticalPods.Duration}}
	}
	slices.SortFunc(all, func(a, b Group) int { return cmp.Compare(a.Priority, b.Priority) })
	return all
}

// total returns how long all groups take, one after the other.
func total(groups []Group) time.Duration {
	var sum time.Duration
	for _, g := range groups {
		sum += g.Grace
	}
	return sum
}

// split returns the pods of each group: a pod is in the last group that is not
// more important than the pod, or in the first.
func split(groups []Group, pods []*v1.Pod) [][]*v1.Pod {
	all := make([][]*v1.Pod, len(groups))
	for _, p := range pods {
		i, found := slices.BinarySearchFunc(groups, priority(p), func(g Group, n int32) int { return cmp.Compare(g.Priority, n) })
		if !found {
			i = max(i-1, 0)
		}
		all[i] = append(all[i], p)
	}
	return all
}

// priority returns the priority of a pod. A static pod is critical, whatever it
// says (SP-32).
func priority(p *v1.Pod) int32 {
	var n int32
	if p.Spec.Priority != nil {
		n = *p.Spec.Priority
	}
	if pod.IsStatic(p) {
		return max(n, critical)
	}
	return n
}

// graceOf returns how long a pod may take: no longer than its group, or than it
// wants itself.
func graceOf(p *v1.Pod, g Group) time.Duration {
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		return min(g.Grace, time.Duration(*s)*time.Second)
	}
	return g.Grace
}
