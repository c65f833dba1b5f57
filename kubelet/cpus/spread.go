package cpus

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"k8s.io/utils/cpuset"
)

// takeEvenly chooses n CPUs, from as few NUMA nodes as have them and from each of
// those the same number (KEP-2902). Where that cannot be, they are packed.
func takeEvenly(s *shape, free cpuset.CPUSet, n int, o Policy) (cpuset.CPUSet, error) {
	group := 1 // what may not be divided
	if o.WholeCores {
		group = s.mean[core]
	}
	if n%group != 0 {
		return takePacked(s, free, n, o)
	}
	h, err := newHand(s, free, n)
	if err != nil || n == 0 {
		return cpuset.New(), err
	}
	wide, narrow := s.wide()
	within := []level{node}
	if wide == socket {
		within = []level{wide, narrow}
	}
	e := &evener{hand: h, n: n, group: group, bySocket: o.BySocket, nodes: s.ordered(h.free, within...), each: map[int]int{}}
	for _, id := range e.nodes {
		e.each[id] = s.in(node, h.free, id).Size()
	}
	groups := ceil(n, group)
	perNode := ceil(ceil(s.all.Size(), group), s.units[node]) // were all CPUs free
	for k := ceil(groups, perNode); k <= min(groups, len(e.nodes)); k++ {
		if best := e.best(k); best != nil {
			return e.carryOut(best, o)
		}
	}
	return takePacked(s, free, n, o)
}

// ceil returns a/b, rounded up. Both are positive.
func ceil(a, b int) int { return (a + b - 1) / b }

// An evener looks for the choice of nodes that leaves all nodes most alike.
type evener struct {
	*hand
	n, group int
	bySocket bool
	nodes    []int       // that have free CPUs
	each     map[int]int // how many of them
}

// A split is a way to take CPUs: the same number from each of some nodes, and what
// remains by groups from a part of those.
type split struct {
	nodes     []int
	more      []int   // those of the nodes that give the rest
	uneven    float64 // how much nodes differ in what they have left
	oneSocket bool    // all nodes are on one, where that counts
}

// best returns the best choice of k nodes; nil: none has enough.
func (e *evener) best(k int) *split {
	var best *split
	for nodes := range combinations(e.nodes, k) {
		if best != nil && best.uneven == 0 && (!e.bySocket || best.oneSocket) {
			break
		}
		if w := e.try(nodes); w != nil && w.betterThan(best) {
			best = w
		}
	}
	return best
}

func (w *split) betterThan(other *split) bool {
	if other == nil {
		return true
	}
	if w.oneSocket != other.oneSocket {
		return w.oneSocket
	}
	return w.uneven < other.uneven
}

// try returns how to take from these nodes; nil: they have not enough, or too
// unequally.
func (e *evener) try(nodes []int) *split {
	total, groups := 0, 0
	for _, id := range nodes {
		total += e.each[id]
		groups += e.each[id] / e.group
	}
	if total < e.n || groups*e.group < e.n {
		return nil
	}
	share := e.share(nodes, e.bySocket)
	left := maps.Clone(e.each)
	for _, id := range nodes {
		if left[id] -= share; left[id] < 0 {
			return nil
		}
	}
	w := &split{nodes: nodes, oneSocket: e.bySocket && len(e.ids(socket, e.in(node, e.all, nodes...))) <= 1}
	rest := e.n - share*len(nodes)
	if rest == 0 {
		w.uneven = deviation(left)
		return w
	}
	if w.uneven, w.more = e.remainder(nodes, left, rest); w.more == nil {
		return nil
	}
	return w
}

// share returns how many CPUs each of some nodes gives; not more than the poorest
// has, where that is asked for.
func (e *evener) share(nodes []int, bounded bool) int {
	share := e.n / len(nodes) / e.group * e.group
	for _, id := range nodes {
		if bounded {
			share = min(share, e.each[id]/e.group*e.group)
		}
	}
	return share
}

// remainder finds which nodes are to give the rest, from as many as can be.
func (e *evener) remainder(nodes []int, left map[int]int, rest int) (uneven float64, more []int) {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(id int) bool { return left[id] < e.group })
	uneven = math.MaxFloat64
	for k := len(nodes); k >= 1; k-- {
		for some := range combinations(nodes, k) {
			after := maps.Clone(left)
			gives := func(id int) bool {
				if after[id] < e.group {
					return false
				}
				after[id] -= e.group
				return true
			}
			if !e.goAround(some, rest, gives) {
				continue
			}
			if d := deviation(after); d < uneven {
				uneven, more = d, some
			}
		}
	}
	return uneven, more
}

// goAround has nodes give a group of CPUs each, in turn, until the rest is given. It
// reports false where they have not enough.
func (e *evener) goAround(nodes []int, rest int, gives func(node int) bool) bool {
	for rest > 0 {
		before := rest
		for _, id := range nodes {
			if rest > 0 && gives(id) {
				rest -= e.group
			}
		}
		if rest == before {
			return false
		}
	}
	return true
}

// carryOut takes the CPUs.
func (e *evener) carryOut(w *split, o Policy) (cpuset.CPUSet, error) {
	takeFrom := func(id, n int) bool {
		of := e.in(node, e.free, id)
		if of.Size() < n {
			return false
		}
		cpus, err := takePacked(e.shape, of, n, o)
		e.take(cpus)
		return err == nil
	}
	share := e.share(w.nodes, true)
	for _, id := range w.nodes {
		takeFrom(id, share)
	}
	e.goAround(w.more, e.n-share*len(w.nodes), func(id int) bool { return takeFrom(id, e.group) })
	if e.need != 0 {
		return cpuset.New(), fmt.Errorf("accounting error, not enough CPUs allocated, remaining: %v", e.need)
	}
	return e.has, nil
}

// deviation is the standard deviation of how many CPUs nodes have left, to three
// digits.
func deviation(left map[int]int) float64 {
	round := func(f float64) float64 { return math.Round(f*1000) / 1000 }
	sum := 0.0
	for _, n := range left {
		sum += float64(n)
	}
	mean, squares := round(sum/float64(len(left))), 0.0
	for _, n := range left {
		squares += (float64(n) - mean) * (float64(n) - mean)
	}
	return round(math.Sqrt(squares / float64(len(left))))
}
