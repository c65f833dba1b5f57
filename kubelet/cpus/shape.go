package cpus

import (
	"cmp"
	"iter"
	"slices"

	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/numa"
)

// A level is a kind of unit that CPUs lie in together.
type level int

const (
	node level = iota // of NUMA
	socket
	cache
	core
	levels
)

// A shape is which units of the machine each CPU lies in.
type shape struct {
	at    map[int][levels]int
	all   cpuset.CPUSet
	units [levels]int // how many there are of each level
	mean  [levels]int // how many CPUs are in a unit, at an average
}

func shapeOf(m *numa.Machine) *shape {
	s := &shape{at: map[int][levels]int{}}
	var ids []int
	for _, c := range m.CPUs {
		s.at[c.ID] = [levels]int{node: c.Node, socket: c.Socket, cache: c.Cache, core: c.Core}
		ids = append(ids, c.ID)
	}
	s.all = cpuset.New(ids...)
	for l := range levels {
		s.units[l] = len(s.ids(l, s.all))
		s.mean[l] = len(ids) / max(s.units[l], 1)
	}
	return s
}

// ids returns the units of a level that have any of these CPUs, lowest first.
func (s *shape) ids(l level, of cpuset.CPUSet) []int {
	seen := map[int]bool{}
	var all []int
	for _, c := range of.UnsortedList() {
		if id := s.at[c][l]; !seen[id] {
			seen[id] = true
			all = append(all, id)
		}
	}
	slices.Sort(all)
	return all
}

// in returns those of these CPUs that lie in units of a level.
func (s *shape) in(l level, of cpuset.CPUSet, ids ...int) cpuset.CPUSet {
	var all []int
	for _, c := range of.UnsortedList() {
		if slices.Contains(ids, s.at[c][l]) {
			all = append(all, c)
		}
	}
	return cpuset.New(all...)
}

// on returns those of these CPUs that lie on NUMA nodes.
func (s *shape) on(nodes numa.Nodes, of cpuset.CPUSet) cpuset.CPUSet {
	return s.in(node, of, slices.Collect(nodes.IDs())...)
}

// wide is the level of bigger units, of sockets and NUMA nodes; the other is narrow.
func (s *shape) wide() (wide, narrow level) {
	if s.units[socket] >= s.units[node] {
		return node, socket
	}
	return socket, node
}

// siblings returns all CPUs of the cores of these.
func (s *shape) siblings(of cpuset.CPUSet) cpuset.CPUSet {
	return s.in(core, s.all, s.ids(core, of)...)
}

// ordered returns units that have any of the free CPUs, level within level: of each
// level those with fewer free CPUs first, so that what is left is left together.
func (s *shape) ordered(free cpuset.CPUSet, within ...level) []int {
	all := s.ids(within[0], free)
	s.fullestFirst(within[0], all, free)
	for n, l := range within[1:] {
		var inner []int
		for _, outer := range all {
			ids := s.ids(l, s.in(within[n], free, outer))
			s.fullestFirst(l, ids, free)
			inner = append(inner, ids...)
		}
		all = inner
	}
	return all
}

func (s *shape) fullestFirst(l level, ids []int, free cpuset.CPUSet) {
	count := map[int]int{}
	for _, c := range free.UnsortedList() {
		count[s.at[c][l]]++
	}
	slices.SortFunc(ids, func(a, b int) int { return cmp.Or(cmp.Compare(count[a], count[b]), cmp.Compare(a, b)) })
}

// aligned reports whether CPUs share one cache.
func (s *shape) aligned(of cpuset.CPUSet) bool { return len(s.ids(cache, of)) <= 1 }

// combinations yields all choices of n of these, in order. What is yielded may be kept.
func combinations(of []int, n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) { choose(of, nil, n, yield) }
}

// choose yields what was chosen with n more.
func choose(of, chosen []int, n int, yield func([]int) bool) bool {
	if n == 0 {
		return len(chosen) == 0 || yield(slices.Clone(chosen))
	}
	for i := 0; i <= len(of)-n; i++ {
		if !choose(of[i+1:], append(chosen, of[i]), n-1, yield) {
			return false
		}
	}
	return true
}
