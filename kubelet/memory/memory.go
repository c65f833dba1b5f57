// Package memory decides how much memory the kernel keeps for pods and their
// containers when the node is short of it, and from how much on it slows them down
// (KEP-2570, Memory QoS):
//
//	memory.min    never taken away: what guaranteed pods ask for
//	memory.low    taken away last: what burstable pods ask for
//	memory.high   more than that comes slowly: a part of the way from request to limit
//
// Only control groups of version 2 can. Its functions are pure; packages spec and
// cgroup tell the runtime and the kernel.
package memory

import (
	"os"
	"strconv"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/pod"
)

// The files of a control group that say so.
const (
	Min  = "memory.min"
	Low  = "memory.low"
	High = "memory.high"
)

// Unlimited is what High says of a group that is not slowed down.
const Unlimited = "max"

// A Policy is how memory is kept. The zero value is that of an empty configuration:
// nothing is kept, nobody is slowed down.
type Policy struct {
	// Off is the feature gate MemoryQoS, which is on unless a configuration says
	// otherwise.
	Off bool
	// Tiered keeps memory for pods by their class (TieredReservation).
	Tiered bool
	// Throttling is the part of the way from its request to its limit after which
	// a container is slowed down, above 0 and at most 1; 0 slows nobody down.
	Throttling float64
}

// Gate is the feature gate that a configuration may close.
const Gate = "MemoryQoS"

// Gated reports whether the feature gate is open.
func Gated(c *kubeletv1beta1.KubeletConfiguration) bool {
	open, said := c.FeatureGates[Gate]
	return open || !said
}

// Of returns the policy of a configuration that is valid.
func Of(c *kubeletv1beta1.KubeletConfiguration) Policy {
	if !Gated(c) {
		return Policy{Off: true}
	}
	y := Policy{Tiered: c.MemoryReservationPolicy == kubeletv1beta1.TieredReservationMemoryReservationPolicy}
	if c.MemoryThrottlingFactor != nil {
		y.Throttling = *c.MemoryThrottlingFactor
	}
	return y
}

// Container returns what the files of a container say, by their names. The class
// is that of its pod; allocatable, in bytes, is what all pods together may use,
// which is what a container without a limit may. What an earlier configuration
// set, or another agent, is taken back.
func (y Policy) Container(p *v1.Pod, d pod.Declared, class v1.PodQOSClass, allocatable int64) map[string]string {
	files := map[string]string{High: Unlimited}
	if y.Off {
		return files
	}
	request, limit := d.Resources.Requests.Memory().Value(), d.Resources.Limits.Memory().Value()
	switch {
	case !y.Tiered || request == 0:
		files[Min], files[Low] = "0", "0"
	case class == v1.PodQOSGuaranteed:
		files[Min] = bytes(request)
	default:
		files[Low] = bytes(request)
	}
	if limit == 0 {
		limit = allocatable
		if r := p.Spec.Resources; r != nil && !r.Limits.Memory().IsZero() {
			return files // its pod is slowed down, which slows it down
		}
	}
	if high := y.high(request, limit); high > 0 {
		files[High] = bytes(high)
	}
	return files
}

// Kept is what the files of the group of a pod, or of many, say. What is empty is
// left as it is.
type Kept struct{ Min, Low, High string }

// Pod returns what is kept for all containers of a pod together. The limit, in
// bytes, is that of the pod; 0 is none.
func (y Policy) Pod(p *v1.Pod, class v1.PodQOSClass, limit int64) (k Kept) {
	if y.Off {
		return k
	}
	requests := resource.PodRequests(p, resource.PodResourcesOptions{})
	request := requests.Memory().Value()
	switch {
	case !y.Tiered || request == 0:
	case class == v1.PodQOSGuaranteed:
		k.Min = bytes(request)
	default:
		k.Low = bytes(request)
	}
	if y.Throttling == 0 {
		return k
	}
	k.High = Unlimited // where a pod has no resources of its own, its containers are slowed down
	if high := y.high(request, limit); high > 0 && resource.IsPodLevelResourcesSet(p) {
		k.High = bytes(high)
	}
	return k
}

// All returns what is kept for the group of all pods, and for that of the burstable
// ones, where guaranteed and burstable is what pods of these classes have: the
// kernel keeps no more for a group than for the one above it.
func (y Policy) All(guaranteed, burstable int64) (all, ofBurstable Kept) {
	if y.Off || !y.Tiered {
		guaranteed, burstable = 0, 0
	}
	return Kept{Min: bytes(guaranteed + burstable), Low: bytes(burstable)}, Kept{Low: bytes(burstable)}
}

// Reserved returns what is kept for the services of the host, for which so many
// bytes are reserved.
func (y Policy) Reserved(reserved int64) Kept {
	if y.Off || reserved == 0 {
		return Kept{}
	}
	return Kept{Min: bytes(reserved)}
}

// high returns from how many bytes on somebody is slowed down; 0 is never. It is a
// whole number of pages, as the kernel counts them.
func (y Policy) high(request, limit int64) int64 {
	if y.Throttling == 0 || limit == 0 || request == limit {
		return 0
	}
	page := int64(os.Getpagesize())
	high := int64(float64(request)+(float64(limit)-float64(request))*y.Throttling) / page * page
	if high <= request {
		return 0
	}
	return high
}

func bytes(n int64) string { return strconv.FormatInt(n, 10) }
