package numamem

import (
	"errors"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"boot.internal/kubelet/numa"
	"boot.internal/kubelet/numamem/state"
	"boot.internal/kubelet/pod"
)

// asks are how many bytes are asked for, by resource.
type asks map[v1.ResourceName]uint64

func (a asks) names() []v1.ResourceName { return slices.Sorted(maps.Keys(a)) }

// hints returns the same placements for all that is asked for.
func (a asks) hints(possible []numa.Hint) numa.Hints {
	if len(possible) == 0 {
		return nil
	}
	all := numa.Hints{}
	for name := range a {
		all[name] = possible
	}
	return all
}

// hintsOf returns where the blocks are that a container has, if those are what it asks
// for.
func hintsOf(has []state.Block, asks asks) numa.Hints {
	if len(has) != len(asks) {
		return nil
	}
	all := numa.Hints{}
	for _, block := range has {
		if asked, ok := asks[block.Type]; !ok || asked != block.Size {
			return nil
		}
		all[block.Type] = append(all[block.Type], numa.Hint{Nodes: numa.NodesOf(block.NUMAAffinity...), Preferred: true})
	}
	return all
}

// isMemory reports whether a resource is of NUMA nodes.
func isMemory(name v1.ResourceName) bool {
	return name == v1.ResourceMemory || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

var errFraction = errors.New("[memorymanager] failed to represent quantity as int64")

// of returns what a container asks for. A request that is not made is the limit.
func of(c *v1.Container) (asks, error) {
	all := asks{}
	for _, list := range []v1.ResourceList{c.Resources.Limits, c.Resources.Requests} {
		for name, q := range list {
			if !isMemory(name) {
				continue
			}
			n, whole := q.AsInt64()
			if !whole {
				return nil, errFraction
			}
			all[name] = uint64(n)
		}
	}
	return all, nil
}

// served reports whether a pod's containers get memory of their own.
func (b *Bank) served(p *v1.Pod) bool {
	return b.o.QOS(p) == v1.PodQOSGuaranteed && !resource.IsPodLevelResourcesSet(p)
}

// asksOf returns what a container is to be given. An init container gets nothing when
// those after it have theirs: it ran already, what it had may be somebody else's, and
// when the sandbox is made again there may be none left for it.
func (b *Bank) asksOf(p *v1.Pod, container string) (asks, error) {
	d, ok := pod.Find(p, container)
	if !ok || d.Kind == pod.Ephemeral || !b.served(p) || d.Kind == pod.Init && b.blocks(p.UID, container) == nil && b.ran(p, container) {
		return nil, nil
	}
	return of(d.Container)
}

// ran reports whether a container after this one has memory.
func (b *Bank) ran(p *v1.Pod, container string) bool {
	all := lasting(p)
	at := slices.IndexFunc(all, func(d pod.Declared) bool { return d.Name == container })
	return slices.ContainsFunc(all[at+1:], func(d pod.Declared) bool { return b.blocks(p.UID, d.Name) != nil })
}

// asksOfPod returns what all containers of a pod ask for together, at the time that is
// most: of sidecars, those that are there by then (KEP-753).
func (b *Bank) asksOfPod(p *v1.Pod) (asks, error) {
	if !b.served(p) {
		return nil, nil
	}
	beside, most, regular := asks{}, asks{}, asks{}
	for _, d := range lasting(p) {
		all, err := of(d.Container)
		if err != nil {
			return nil, err
		}
		for name, n := range all {
			switch d.Kind {
			case pod.Init:
				most[name] = max(most[name], beside[name]+n)
			case pod.Sidecar:
				beside[name] += n
			default:
				regular[name] += n
			}
		}
	}
	for name := range regular {
		regular[name] = max(regular[name]+beside[name], most[name])
	}
	return regular, nil
}
