package admit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

// A lack is a resource of which there is less than a pod asks for. Amounts are
// thousandths of a CPU, or whole ones of anything else.
type lack struct {
	name               v1.ResourceName
	asked, used, there int64
}

// missing is how much would have to be freed.
func (l lack) missing() int64 { return l.asked - (l.there - l.used) }

func (l lack) String() string {
	return fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d", l.name, l.asked, l.used, l.there)
}

// lacking compares what the pod asks for with what others leave of it. Resources
// are in the order in which the kubelet goes through them.
func lacking(p *v1.Pod, others []*v1.Pod, allocatable v1.ResourceList) []lack {
	asked, used := amounts(p), map[v1.ResourceName]int64{}
	for _, o := range others {
		for name, n := range amounts(o) {
			used[name] += n
		}
	}
	var all []lack
	for _, name := range inOrder(asked) {
		q, known := allocatable[name]
		if !known && !isHugePages(name) { // the node has no pages of a size it does not tell of
			continue
		}
		l := lack{name, asked[name], used[name], amount(name, q)}
		if l.asked > 0 && l.missing() > 0 {
			all = append(all, l)
		}
	}
	return all
}

// rejectionOf rejects for the first of what is lacking.
func rejectionOf(lacks []lack) *Rejection {
	if len(lacks) == 0 {
		return nil
	}
	return &Rejection{"OutOf" + string(lacks[0].name), lacks[0].String()}
}

// checkDevices compares how many devices the pod asks for with those that may be
// given out.
func checkDevices(p *v1.Pod, others []*v1.Pod, n Node) *Rejection {
	for _, name := range slices.Sorted(maps.Keys(n.Devices)) {
		left := n.Devices[name]
		for _, o := range others {
			left -= amounts(o)[name]
		}
		if asked := amounts(p)[name]; asked > 0 && asked > left {
			return &Rejection{"UnexpectedAdmissionError", fmt.Sprintf(
				"Allocate failed due to requested number of devices unavailable for %s. Requested: %d, Available: %d, which is unexpected",
				name, asked, max(left, 0),
			)}
		}
	}
	return nil
}

// amounts returns what a pod asks for, itself among it.
func amounts(p *v1.Pod) map[v1.ResourceName]int64 {
	all := map[v1.ResourceName]int64{v1.ResourcePods: 1}
	for name, q := range status.Requests(withoutClaimed(p)) {
		all[name] = amount(name, q)
	}
	return all
}

// withoutClaimed returns the pod without what it asks for that a claim gives it: it
// takes nothing of that from the node.
func withoutClaimed(p *v1.Pod) *v1.Pod {
	if p.Status.ExtendedResourceClaimStatus == nil {
		return p
	}
	p = p.DeepCopy()
	for _, d := range pod.Containers(p) {
		maps.DeleteFunc(d.Resources.Requests, func(name v1.ResourceName, _ resource.Quantity) bool {
			return pod.Claimed(p, d.Name, name)
		})
	}
	return p
}

// amount returns a quantity in the unit that is counted in.
func amount(name v1.ResourceName, q resource.Quantity) int64 {
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// inOrder returns the names of resources as the kubelet goes through them: what
// every pod needs, then the others by name.
func inOrder(asked map[v1.ResourceName]int64) []v1.ResourceName {
	first := []v1.ResourceName{v1.ResourcePods, v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage}
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(asked)), func(n v1.ResourceName) bool { return slices.Contains(first, n) })
	return append(first, others...)
}

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}
