// Package resize decides which resources a pod is allocated when its spec asks
// for others while it runs (KEP-1287), and remembers what was allocated and what
// containers were given.
//
// How what runs gets there is left to package plan, and what is said of it to
// package status:
//
//	spec ──Settle──► allocated ──plan, runtime──► applied
//	        │ no room: deferred, until there is
//	        └──────────────────────────────────►
//
// What is remembered is on disk in the files and the format of the kubelet, so
// that either can go on from where the other was.
package resize

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// Settle returns the admitted pods with the resources that they are allocated:
// those of their spec if there is room for them beside the others, else those
// they had. Pods that over reports hold nothing and are left as they are.
//
// Who frees something is asked first, then who matters more, then who has waited
// for longer.
func (l *Ledger) Settle(admitted, others []*v1.Pod, n admit.Node, over func(*v1.Pod) bool) (all []*v1.Pod, news []News) {
	all = make([]*v1.Pod, len(admitted))
	held := slices.Clone(others)
	var resized []int
	for i, p := range admitted {
		all[i] = l.Allocated(p)
		if over(p) {
			continue
		}
		held = append(held, all[i])
		if sameResources(p, all[i]) {
			if l.setPending(p.UID, nil) {
				news = append(news, News{Pod: p})
			}
		} else if p.DeletionTimestamp == nil {
			resized = append(resized, i)
		}
	}
	slices.SortStableFunc(resized, func(a, b int) int { return l.compare(admitted[a], all[a], admitted[b], all[b]) })
	for _, i := range resized {
		p, was := admitted[i], all[i]
		at := slices.Index(held, was)
		rest := slices.Delete(slices.Clone(held), at, at+1)
		why := l.obstacle(p, was, rest, n)
		if why == nil {
			all[i], held[at] = p, p
		}
		news = append(news, l.decide(p, why)...)
	}
	return all, news
}

// obstacle returns why a pod is not allocated what it asks for beside the others, nil if
// it is.
func (l *Ledger) obstacle(p, was *v1.Pod, others []*v1.Pod, n admit.Node) *status.Pending {
	if never := l.refuse(p, was); never != "" {
		return &status.Pending{Reason: v1.PodReasonInfeasible, Message: never, Generation: p.Generation}
	}
	if why := admit.Check(p, others, n); why != nil {
		return &status.Pending{Reason: v1.PodReasonDeferred, Message: why.Message, Generation: p.Generation}
	}
	return nil
}

// decide notes what becomes of a resize, and returns what is new of it.
func (l *Ledger) decide(p *v1.Pod, why *status.Pending) []News {
	if why == nil {
		l.setPending(p.UID, nil)
		l.Allocate(p)
		return []News{{p, "ResizeStarted", message("Pod resize started", p, p.Generation, "")}}
	}
	was := l.State(p.UID).Pending
	if !l.setPending(p.UID, why) {
		return nil
	}
	if was != nil && was.Generation == p.Generation && was.Reason == why.Reason {
		return []News{{Pod: p}}
	}
	return []News{{p, "Resize" + why.Reason, message("Pod resize "+why.Reason, p, p.Generation, why.Message)}}
}

// compare orders pods whose resize is to be decided.
func (l *Ledger) compare(a, wasA, b, wasB *v1.Pod) int {
	growing := func(p, was *v1.Pod) int {
		now, before := status.Requests(p), status.Requests(was)
		if now.Cpu().Cmp(*before.Cpu()) > 0 || now.Memory().Cmp(*before.Memory()) > 0 {
			return 1
		}
		return 0
	}
	class := map[v1.PodQOSClass]int{v1.PodQOSGuaranteed: -1}
	return cmp.Or(
		growing(a, wasA)-growing(b, wasB),
		cmp.Compare(ptr.Deref(b.Spec.Priority, 0), ptr.Deref(a.Spec.Priority, 0)),
		class[status.QOSClass(a)]-class[status.QOSClass(b)],
		l.waiting(a.UID)-l.waiting(b.UID),
	)
}

// sameResources reports whether two versions of a pod ask for the same.
func sameResources(a, b *v1.Pod) bool {
	return a == b || equality.Semantic.DeepEqual(infoOf(a), infoOf(b))
}

// An info is what a pod has of what can be resized.
type info struct {
	ContainerResources map[string]v1.ResourceRequirements
	PodLevelResources  *v1.ResourceRequirements
	// EmptyDirVolumeLimits belongs to the format. Volumes in memory are not
	// resized.
	EmptyDirVolumeLimits map[string]*resource.Quantity
}

func infoOf(p *v1.Pod) info {
	all := info{ContainerResources: map[string]v1.ResourceRequirements{}, PodLevelResources: p.Spec.Resources}
	for _, d := range pod.Containers(p) {
		if d.Kind != pod.Ephemeral {
			all.ContainerResources[d.Name] = d.Resources
		}
	}
	return all
}

// on returns p with these resources. p itself is not changed.
func (i info) on(p *v1.Pod) *v1.Pod {
	if equality.Semantic.DeepEqual(i, infoOf(p)) {
		return p
	}
	p = p.DeepCopy()
	p.Spec.Resources = i.PodLevelResources.DeepCopy()
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for n := range list {
			if r, known := i.ContainerResources[list[n].Name]; known {
				list[n].Resources = *r.DeepCopy()
			}
		}
	}
	return p
}

// tracked returns under what a pod is kept; static pods, which nothing resizes,
// are not.
func tracked(p *v1.Pod) (types.UID, bool) { return p.UID, !pod.IsStatic(p) }
