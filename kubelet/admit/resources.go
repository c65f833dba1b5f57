package admit

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/status"
)

// checkResources compares what the pod asks for with what others leave of it.
// All pods here are static and thereby critical (SP-32): none has to yield to
// another, so who was there first stays.
func checkResources(p *v1.Pod, others []*v1.Pod, allocatable v1.ResourceList) *Rejection {
	asked, used := amounts(p), map[v1.ResourceName]int64{}
	for _, o := range others {
		for name, n := range amounts(o) {
			used[name] += n
		}
	}
	for _, name := range inOrder(asked) {
		q, known := allocatable[name]
		if !known && !isHugePages(name) { // the node has no pages of a size it does not tell of
			continue
		}
		if capacity := amount(name, q); asked[name] > 0 && asked[name] > capacity-used[name] {
			return &Rejection{"OutOf" + string(name), fmt.Sprintf(
				"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
				name, asked[name], used[name], capacity,
			)}
		}
	}
	return nil
}

// amounts returns what a pod asks for, itself among it.
func amounts(p *v1.Pod) map[v1.ResourceName]int64 {
	all := map[v1.ResourceName]int64{v1.ResourcePods: 1}
	for name, q := range status.Requests(p) {
		all[name] = amount(name, q)
	}
	return all
}

// amount returns a quantity in the unit that is counted in: thousandths of a
// CPU, or whole ones of anything else.
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
