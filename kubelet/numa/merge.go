package numa

import "maps"

// merge chooses one placement of those that are possible for each resource, and
// reports whether the policy takes it.
func (pl *Placer) merge(all [][]Hint) (best Hint, ok bool) {
	if pl.o.Policy == SingleNode {
		all = onOneNode(all)
	}
	w := weighing{m: pl.m, closest: pl.o.Closest && pl.o.Policy != SingleNode, wanted: widest(all)}
	whole := pl.m.All()
	for c := range combine(whole, all) {
		if c.nodes != 0 && w.better(Hint{c.nodes, c.preferred}, best) {
			best = Hint{c.nodes, c.preferred}
		}
	}
	if best.Nodes == 0 {
		best.Nodes = whole
	}
	if pl.o.Policy == SingleNode && best.Nodes == whole {
		best.Nodes = 0
	}
	return best, pl.o.Policy == BestEffort || best.Preferred
}

// choices returns what there is to choose from, by resource. For one that may come
// from anywhere that is all there is, and so it is for one that can come from nowhere,
// but that nobody likes.
func choices(of Hints) [][]Hint {
	if len(of) == 0 {
		return [][]Hint{{{Preferred: true}}}
	}
	var all [][]Hint
	for _, hints := range of {
		if len(hints) == 0 {
			hints = []Hint{{Preferred: hints == nil}}
		}
		all = append(all, hints)
	}
	return all
}

// onOneNode leaves the hints that are for one node, or for any.
func onOneNode(all [][]Hint) [][]Hint {
	left := make([][]Hint, len(all))
	for n, hints := range all {
		for _, h := range hints {
			if h.Preferred && h.Nodes.Len() <= 1 {
				left[n] = append(left[n], h)
			}
		}
	}
	return left
}

// widest returns how many nodes the resource needs that needs most.
func widest(all [][]Hint) int {
	most := 0
	for _, hints := range all {
		least := 0
		for _, h := range hints {
			if n := h.Nodes.Len(); n > 0 && (least == 0 || n < least) {
				least = n
			}
		}
		most = max(most, least)
	}
	return most
}

// A combination is what comes of one hint of each resource so far.
type combination struct {
	nodes     Nodes // that all have in common
	preferred bool  // all are, and say the same
	said      Nodes // what they say, as long as it is the same
}

// combine returns what comes of all ways to choose one hint of each resource. There
// are many ways, of which few differ in what comes of them.
func combine(whole Nodes, all [][]Hint) map[combination]bool {
	now := map[combination]bool{{nodes: whole, preferred: true}: true}
	for _, hints := range all {
		next := map[combination]bool{}
		for c := range maps.Keys(now) {
			for _, h := range hints {
				next[c.with(h)] = true
			}
		}
		now = next
	}
	return now
}

func (c combination) with(h Hint) combination {
	c.preferred = c.preferred && h.Preferred
	if h.Nodes != 0 {
		c.nodes &= h.Nodes
		c.preferred = c.preferred && (c.said == 0 || c.said == h.Nodes)
		c.said = h.Nodes
	}
	if !c.preferred {
		c.said = 0 // it does not matter any more
	}
	return c
}

// A weighing compares placements.
type weighing struct {
	m       *Machine
	closest bool
	wanted  int // nodes of a placement that is not preferred, at best
}

// better reports whether a placement is to be taken rather than another, which has no
// nodes while there is none. What is preferred is better, and among such what is
// narrower. The rest is the better the nearer it comes to as many nodes as wanted,
// from below rather than from above.
func (w weighing) better(a, than Hint) bool {
	switch an, bn := w.rank(a), w.rank(than); {
	case than.Nodes == 0:
		return true
	case a.Preferred != than.Preferred:
		return a.Preferred
	case an != bn:
		return an < bn
	}
	return w.narrower(a.Nodes, than.Nodes)
}

// rank returns how far a placement is from the number of nodes that would be best; the
// least is the best. Ranks are compared among those that are preferred, or are not.
func (w weighing) rank(h Hint) int {
	n := h.Nodes.Len()
	if !h.Preferred && n <= w.wanted {
		return w.wanted - n
	}
	return n + MaxNodes // after all that have no more nodes than wanted
}

// narrower decides between placements of as many nodes.
func (w weighing) narrower(a, than Nodes) bool {
	if w.closest {
		if an, bn := w.m.spread(a), w.m.spread(than); an != bn {
			return an < bn
		}
	}
	return a.Narrower(than)
}

// spread returns how far from each other nodes are on average, themselves included.
func (m *Machine) spread(nodes Nodes) float64 {
	var sum, n float64
	for _, from := range m.Nodes {
		for at, to := range m.Nodes {
			if nodes.Has(from.ID) && nodes.Has(to.ID) {
				sum += float64(from.Distances[at])
				n++
			}
		}
	}
	return sum / n
}
