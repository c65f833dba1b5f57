package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"boot.internal/kubelet/memory"
	"boot.internal/kubelet/pod"
)

// controllers are those that have limits of pods.
func controllers() []string { return []string{"cpu", "memory", "pids"} }

// limits are those of a group; what is 0 is left as it is.
type limits struct {
	shares uint64        // CPU weight in the units of version 1
	quota  time.Duration // CPU time in every period
	memory int64         // bytes
	keep   memory.Kept
	pids   int64
}

const (
	minShares = 2
	maxShares = 262144
	minQuota  = time.Millisecond // the kernel takes no less
)

// limitsOf returns the limits of a pod. A limit that not every container has is
// none of the pod.
func (c *Cgroups) limitsOf(p *v1.Pod, class v1.PodQOSClass) limits {
	l := limits{shares: minShares, pids: c.PodPids}
	if class == v1.PodQOSBestEffort {
		return l
	}
	requests := resource.PodRequests(p, resource.PodResourcesOptions{})
	most := resource.PodLimits(p, resource.PodResourcesOptions{})
	l.shares = sharesOf(requests.Cpu().MilliValue())
	if limited(p, v1.ResourceCPU) && !c.NoQuota && (c.Unhurried == nil || !c.Unhurried(p)) {
		l.quota = max(c.QuotaPeriod*time.Duration(most.Cpu().MilliValue())/1000, minQuota)
	}
	if limited(p, v1.ResourceMemory) {
		l.memory = most.Memory().Value()
	}
	l.keep = c.Keep.Pod(p, class, l.memory)
	return l
}

// limited reports whether the pod itself or each of its containers has a limit.
func limited(p *v1.Pod, what v1.ResourceName) bool {
	if r := p.Spec.Resources; r != nil {
		if q := r.Limits[what]; !q.IsZero() {
			return true
		}
	}
	for _, c := range pod.Containers(p) {
		if q := c.Resources.Limits[what]; c.Kind != pod.Ephemeral && q.IsZero() {
			return false
		}
	}
	return true
}

// sharesOf returns the CPU weight of a request, in the units of version 1.
func sharesOf(milli int64) uint64 {
	return uint64(min(max(milli*1024/1000, minShares), maxShares))
}

// weightOf converts to the units of version 2 as runc does, so that containers
// and pods are weighed alike: 2, 1024 and 262144 become 1, 100 and 10000.
func weightOf(shares uint64) uint64 {
	switch {
	case shares <= minShares:
		return 1
	case shares >= maxShares:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// sharesOfWeight converts back, to what may have been rounded up.
func sharesOfWeight(weight uint64) uint64 {
	e := math.Log10(float64(max(weight, 1))) + 7.0/34
	return uint64(math.Round(math.Exp2((math.Sqrt(125*125+4*612*e) - 125) / 2)))
}

// A setting is one value in one file of a group.
type setting struct{ controller, file, value string }

// settings returns the files that hold the limits in a hierarchy of the version.
func (l limits) settings(unified bool, period time.Duration) []setting {
	var out []setting
	add := func(set bool, controller, file, unifiedFile, value string) {
		if unified {
			file = unifiedFile
		}
		if set && file != "" {
			out = append(out, setting{controller, file, value})
		}
	}
	weight := l.shares
	if unified {
		weight = weightOf(l.shares)
	}
	us := strconv.FormatInt(period.Microseconds(), 10)
	quota := strconv.FormatInt(l.quota.Microseconds(), 10)
	add(l.shares > 0, "cpu", "cpu.shares", "cpu.weight", strconv.FormatUint(weight, 10))
	add(l.quota > 0 && unified, "cpu", "", "cpu.max", fmt.Sprintf("%s %s", quota, us))
	add(l.quota > 0, "cpu", "cpu.cfs_period_us", "", us)
	add(l.quota > 0, "cpu", "cpu.cfs_quota_us", "", quota)
	add(l.memory > 0, "memory", "memory.limit_in_bytes", "memory.max", strconv.FormatInt(l.memory, 10))
	add(l.keep.Min != "", "memory", "", memory.Min, l.keep.Min)
	add(l.keep.Low != "", "memory", "", memory.Low, l.keep.Low)
	add(l.keep.High != "", "memory", "", memory.High, l.keep.High)
	add(l.pids > 0, "pids", "pids.max", "pids.max", strconv.FormatInt(l.pids, 10))
	return out
}
