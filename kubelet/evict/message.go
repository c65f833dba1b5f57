package evict

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"
)

// Reason is that of the status and of the event of an evicted pod.
const Reason = "Evicted"

// Annotations of the event.
const (
	starvedResource          = "starved_resource"
	offendingContainers      = "offending_containers"
	offendingContainersUsage = "offending_containers_usage"
	offendingPod             = "offending_pod"
	offendingPodUsage        = "offending_pod_usage"
)

// explain says what the node is short of, in upstream's words.
func explain(what v1.ResourceName, starved []Threshold, seen Levels) string {
	message := fmt.Sprintf("The node was low on resource: %v. ", what)
	i := slices.IndexFunc(starved, func(t Threshold) bool {
		_, ok := seen[t.Signal]
		return ok && t.Signal.resource() == what
	})
	if i >= 0 {
		t, level := starved[i], seen[starved[i].Signal]
		limit := &t.Amount.Quantity
		if t.Amount.Share != 0 {
			limit = resource.NewQuantity(t.Amount.of(level.Capacity), resource.BinarySI)
		}
		message += fmt.Sprintf("Threshold quantity: %v, available: %v. ", limit, inUnits(level.Available, what))
	}
	return message
}

// blame says which containers use more than they asked for.
func (e *Eviction) blame(what v1.ResourceName, u Usage) {
	p := e.Pod
	if asked, ok := podLevel(p, what); ok {
		used := inUnits(u.Memory, what).String()
		e.Message += fmt.Sprintf("Pod %s was using %s, request is %s, has larger consumption of %v. ", p.Name, used, asked.String(), what)
		e.Annotations[offendingPod], e.Annotations[offendingPodUsage] = p.Name, used
	}
	var names, usages []string
	for _, c := range slices.Concat(p.Spec.Containers, p.Spec.InitContainers) {
		asked := c.Resources.Requests[what]
		used := u.Containers[c.Name].of(what)
		if used <= asked.Value() {
			continue
		}
		text := inUnits(used, what).String()
		e.Message += fmt.Sprintf("Container %s was using %s, request is %s, has larger consumption of %v. ", c.Name, text, asked.String(), what)
		names, usages = append(names, c.Name), append(usages, text)
	}
	e.Annotations[offendingContainers] = strings.Join(names, ",")
	e.Annotations[offendingContainersUsage] = strings.Join(usages, ",")
	e.Annotations[starvedResource] = string(what)
}

// podLevel returns the memory that the pod as a whole asked for, if it did.
func podLevel(p *v1.Pod, what v1.ResourceName) (resource.Quantity, bool) {
	if what != v1.ResourceMemory || !helper.IsPodLevelResourcesSet(p) {
		return resource.Quantity{}, false
	}
	q, ok := p.Spec.Resources.Requests[what]
	return q, ok
}

// of returns how much a container uses of what it may have asked for.
func (c ContainerUsage) of(what v1.ResourceName) int64 {
	switch what {
	case v1.ResourceMemory:
		return c.Memory
	case v1.ResourceEphemeralStorage:
		return c.Layer.Bytes + c.Logs.Bytes
	}
	return 0
}
