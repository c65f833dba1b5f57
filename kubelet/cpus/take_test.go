package cpus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/utils/cpuset"

	"boot.internal/kubelet/numa"
)

// machine makes one of "sockets/nodes of each/caches of each/cores of each/threads of
// each", numbered as Linux does: all first threads, then all second ones.
func machine(t *testing.T, text string) *numa.Machine {
	t.Helper()
	var sockets, nodes, caches, cores, threads int
	if _, err := fmt.Sscanf(text, "%d/%d/%d/%d/%d", &sockets, &nodes, &caches, &cores, &threads); err != nil {
		t.Fatal(err)
	}
	m, all := &numa.Machine{}, sockets*nodes*caches*cores
	for thread := range threads {
		for n := range all {
			cache := n / cores
			m.CPUs = append(m.CPUs, numa.CPU{ID: thread*all + n, Core: n, Cache: cache, Node: cache / caches, Socket: cache / caches / nodes})
		}
	}
	for id := range sockets * nodes {
		m.Nodes = append(m.Nodes, numa.Node{ID: id})
	}
	return m
}

func set(t *testing.T, text string) cpuset.CPUSet {
	t.Helper()
	s, err := cpuset.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// policyOf returns that of options that are on.
func policyOf(t *testing.T, options string) Policy {
	t.Helper()
	on := map[string]string{}
	for name := range strings.FieldsSeq(options) {
		on[name] = "true"
	}
	p, err := ParsePolicy(on, map[string]bool{AlphaGate: true})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTake(t *testing.T) {
	for _, c := range []struct {
		machine, options, free string
		n                      int
		want                   string
	}{
		// One socket of four cores, two threads each: 0 and 4 are one core.
		{"1/1/1/4/2", "", "0-7", 1, "0"},
		{"1/1/1/4/2", "", "1-7", 1, "4"}, // what is left of a core
		{"1/1/1/4/2", "", "0-7", 2, "0,4"},
		{"1/1/1/4/2", "", "1-7", 2, "1,5"}, // a whole core
		{"1/1/1/4/2", "", "0-7", 3, "0-1,4"},
		{"1/1/1/4/2", "", "0-3", 2, "0-1"},
		{"1/1/1/4/2", "", "0-7", 8, "0-7"},
		{"1/1/1/4/2", "", "0-7", 9, "not enough cpus available to satisfy request: requested=9, available=8"},
		{"1/1/1/4/2", acrossCores, "0-7", 2, "0-1"},
		{"1/1/1/4/2", acrossCores, "0-7", 5, "0-4"},
		// Two sockets: a whole one if need be, else of the one with less left.
		{"2/1/1/4/2", "", "0-15", 8, "0-3,8-11"},
		{"2/1/1/4/2", "", "1-15", 8, "4-7,12-15"},
		{"2/1/1/4/2", "", "1-15", 2, "1,9"},
		{"2/1/1/4/2", "", "0-3,5-15", 2, "5,13"},
		{"2/1/1/4/2", "", "1-15", 10, "4-7,9,12-15,1"},
		// Two nodes on each of two sockets.
		{"2/2/1/2/1", "", "0-7", 2, "0-1"},
		{"2/2/1/2/1", "", "1-7", 2, "2-3"},
		{"2/2/1/2/1", "", "1-7", 4, "4-7"},
		{"2/2/1/2/1", "", "1-7", 3, "1-3"},
		// As many from each node.
		{"2/1/1/4/1", acrossNUMA, "0-7", 4, "0-3"},
		{"2/1/1/4/1", acrossNUMA, "0-7", 6, "0-2,4-6"},
		{"2/1/1/4/1", acrossNUMA, "1-7", 6, "1-3,4-6"},
		{"2/1/1/4/1", acrossNUMA, "0-7", 5, "0-2,4-5"},
		{"2/1/1/4/2", acrossNUMA, "0-15", 10, "0-2,4-5,8-9,12-13,6"},
		{"2/1/1/4/2", acrossNUMA + " " + wholeCores, "0-15", 10, "0-2,8-10,4-5,12-13"},
		{"4/1/1/2/1", acrossNUMA, "0-7", 6, "0-5"},
		{"4/1/1/2/1", acrossNUMA, "1-7", 4, "2-5"},
		// Caches of two cores.
		{"1/1/4/2/1", byCache, "0-7", 2, "0-1"},
		{"1/1/4/2/1", byCache, "1-7", 2, "2-3"},
		{"1/1/4/2/1", "", "1-7", 2, "1-2"},
		{"1/1/4/2/1", byCache, "1-7", 3, "1-3"},
		{"1/1/2/4/2", byCache, "1-15", 3, "1,8-9"},
		{"1/1/2/4/2", byCache, "0,3-15", 4, "4-5,12-13"},
		{"1/1/2/4/2", byCache, "0,4-8,12-15", 4, "4-5,12-13"},
	} {
		t.Run(strings.Join([]string{c.machine, c.options, c.free, fmt.Sprint(c.n)}, " "), func(t *testing.T) {
			p := &Pool{shape: shapeOf(machine(t, c.machine)), o: Options{Policy: policyOf(t, c.options)}}
			got, err := p.take(set(t, c.free), c.n)
			if err != nil {
				if err.Error() != c.want {
					t.Error(err)
				}
				return
			}
			if want := set(t, c.want); !got.Equals(want) {
				t.Errorf("takes %s, want %s", got, want)
			}
		})
	}
}

// A choice stays what it was when others are made: who keeps the best is not given
// another.
func TestCombinationsMayBeKept(t *testing.T) {
	var all []string
	var kept [][]int
	for c := range combinations([]int{1, 2, 3, 4, 5}, 4) {
		all, kept = append(all, fmt.Sprint(c)), append(kept, c)
	}
	for i, c := range kept {
		if fmt.Sprint(c) != all[i] {
			t.Errorf("%s has become %v", all[i], c)
		}
	}
	if want := []string{"[1 2 3 4]", "[1 2 3 5]", "[1 2 4 5]", "[1 3 4 5]", "[2 3 4 5]"}; !slices.Equal(all, want) {
		t.Errorf("choices %v", all)
	}
	for range combinations([]int{1}, 0) {
		t.Error("nothing is chosen")
	}
}

func TestPolicy(t *testing.T) {
	on := map[string]bool{AlphaGate: true}
	for _, c := range []struct {
		options map[string]string
		gates   map[string]bool
		want    string
	}{
		{map[string]string{wholeCores: "true", strict: "1", acrossNUMA: "false"}, nil, ""},
		{map[string]string{"fast": "true"}, on, `unknown CPU Manager Policy option: "fast"`},
		{map[string]string{bySocket: "true"}, nil, `CPU Manager Policy Alpha-level Options not enabled, but option "align-by-socket" provided`},
		{map[string]string{bySocket: "true"}, on, ""},
		{map[string]string{acrossNUMA: "true"}, map[string]bool{BetaGate: false}, `CPU Manager Policy Beta-level Options not enabled, but option "distribute-cpus-across-numa" provided`},
		{map[string]string{strict: "yes"}, nil, `bad value for option "strict-cpu-reservation": strconv.ParseBool: parsing "yes": invalid syntax`},
		{map[string]string{wholeCores: "true", acrossCores: "true"}, on, "static policy options full-pcpus-only and distribute-cpus-across-cores can not be used at the same time"},
		{map[string]string{byCache: "true", acrossNUMA: "true"}, on, "static policy options prefer-align-cpus-by-uncorecache and distribute-cpus-across-numa can not be used at the same time"},
	} {
		_, err := ParsePolicy(c.options, c.gates)
		if err == nil {
			err = errors.New("")
		}
		if err.Error() != c.want {
			t.Errorf("%v: %q, want %q", c.options, err, c.want)
		}
	}
}
