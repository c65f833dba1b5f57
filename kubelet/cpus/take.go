package cpus

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/utils/cpuset"
)

// take chooses n of the free CPUs.
func (p *Pool) take(free cpuset.CPUSet, n int) (cpuset.CPUSet, error) {
	if p.o.Policy.AcrossNUMA {
		return takeEvenly(p.shape, free, n, p.o.Policy)
	}
	return takePacked(p.shape, free, n, p.o.Policy)
}

// A hand chooses CPUs, one unit of the machine after another.
type hand struct {
	*shape
	free cpuset.CPUSet // to be taken yet
	has  cpuset.CPUSet // taken
	need int           // how many more
}

// newHand returns a hand that is to take n. It is an error if there are fewer.
func newHand(s *shape, free cpuset.CPUSet, n int) (*hand, error) {
	h := &hand{shape: s, free: free.Intersection(s.all), has: cpuset.New(), need: n}
	if n > h.free.Size() {
		return nil, fmt.Errorf("not enough cpus available to satisfy request: requested=%d, available=%d", n, free.Size())
	}
	return h, nil
}

func (h *hand) take(cpus cpuset.CPUSet) {
	h.has, h.free, h.need = h.has.Union(cpus), h.free.Difference(cpus), h.need-cpus.Size()
}

// takePacked chooses n CPUs that lie as near to each other as can be: whole NUMA
// nodes and sockets, whole caches where that is preferred, whole cores, and threads.
func takePacked(s *shape, free cpuset.CPUSet, n int, o Policy) (cpuset.CPUSet, error) {
	h, err := newHand(s, free, n)
	if err != nil {
		return cpuset.New(), err
	}
	wide, narrow := s.wide()
	h.takeWhole(wide)
	h.takeWhole(wide, narrow)
	if o.ByCache {
		h.takeCaches()
	}
	if !o.AcrossCores {
		h.takeWhole(wide, narrow, core)
	}
	h.takeThreads(o.AcrossCores)
	if h.need > 0 {
		return cpuset.New(), errors.New("failed to allocate cpus")
	}
	return h.has, nil
}

// takeWhole takes free units of the last level, as many as are needed whole.
func (h *hand) takeWhole(within ...level) {
	l := within[len(within)-1]
	var whole []int
	for _, id := range h.ordered(h.free, within...) {
		if h.isFree(l, id) {
			whole = append(whole, id)
		}
	}
	for _, id := range whole {
		if unit := h.in(l, h.all, id); h.need >= unit.Size() {
			h.take(unit)
		}
	}
}

// isFree reports whether all CPUs of a unit are free. Upstream knows only how many
// CPUs a socket or core has at an average, so that one with another number is not
// taken as a whole.
func (h *hand) isFree(l level, id int) bool {
	size := h.mean[l]
	if l == node || l == cache {
		size = h.in(l, h.all, id).Size()
	}
	return h.in(l, h.free, id).Size() == size
}

// takeThreads takes CPUs one by one: from cores that are used already, or spread from
// as many cores as there are.
func (h *hand) takeThreads(spread bool) {
	wide, narrow := h.wide()
	within := []level{wide, narrow, core}
	if spread {
		within = within[:slices.Index(within, socket)+1]
	}
	l := within[len(within)-1]
	var all []int
	for _, id := range h.ordered(h.free, within...) {
		all = append(all, h.in(l, h.free, id).List()...)
	}
	for _, c := range all {
		if h.need > 0 {
			h.take(cpuset.New(c))
		}
	}
}

// takeCaches takes what shares caches: whole ones, and the rest from one of which it
// does not take more than it needs.
func (h *hand) takeCaches() {
	within := []level{node, cache}
	if wide, _ := h.wide(); wide == socket {
		within = []level{socket, node, cache}
	} // else sockets are within nodes, and nothing between a node and its caches
	for _, id := range h.ordered(h.free, within...) {
		if h.need >= h.mean[cache] {
			h.takeWhole(within...)
		}
		if h.need > 0 {
			h.takeOfCache(id)
		}
	}
}

// takeOfCache takes all that is needed from one cache, if that has enough: the
// lowest cores, of the last one thread only where an odd number is needed.
func (h *hand) takeOfCache(id int) {
	perCore := max(h.mean[core], 1)
	cores := h.ids(core, h.in(cache, h.free, id))
	cores = cores[:min(len(cores), ceil(h.need, perCore))]
	cpus := h.in(core, h.free, cores...)
	if list := cpus.List(); h.need%2 != 0 && perCore > 1 && len(list) > h.need {
		cpus = cpuset.New(list[:len(list)-1]...)
	}
	if cpus.Size() == h.need {
		h.take(cpus)
	}
}
