package numa

import (
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// readHints reads hints by resource: "0+ 01 / any / none", of which any is a resource
// that may come from anywhere, and none one that can come from nowhere. What is
// preferred has a plus.
func readHints(text string) Hints {
	if text == "" {
		return nil
	}
	all := Hints{}
	for n, of := range strings.Split(text, "/") {
		name := v1.ResourceName(strconv.Itoa(n))
		for f := range strings.FieldsSeq(of) {
			switch f {
			case "any":
				all[name] = nil
			case "none":
				all[name] = []Hint{}
			default:
				all[name] = append(all[name], readHint(f))
			}
		}
	}
	return all
}

func readHint(f string) Hint {
	h := Hint{Preferred: strings.HasSuffix(f, "+")}
	for _, id := range strings.Trim(f, "-+") {
		h.Nodes |= NodesOf(int(id - '0'))
	}
	return h
}

// machine has as many nodes, of which those with numbers next to each other are
// nearer.
func machine(n int) *Machine {
	m := &Machine{}
	for id := range n {
		node := Node{ID: id}
		for other := range n {
			node.Distances = append(node.Distances, 10+max(id-other, other-id))
		}
		m.Nodes = append(m.Nodes, node)
	}
	return m
}

// What upstream's policies make of the same hints, on machines of four nodes. A dash
// has no nodes.
func TestMerge(t *testing.T) {
	const best, restricted, single = BestEffort, Restricted, SingleNode
	for _, test := range []struct {
		hints        string
		policy       Policy
		want, closer string // where closer nodes are preferred; as want if empty
		refused      bool
	}{
		{"", best, "0123+", "", false},
		{"", restricted, "0123+", "", false},
		{"", single, "-+", "", false},
		{"any", single, "-+", "", false},
		{"none", best, "0123", "", false},
		{"none", restricted, "0123", "", true},
		{"none", single, "-", "", true},

		{"0+ 1+", best, "0+", "", false},
		{"0+ 1+ / 1+", restricted, "1+", "", false},
		{"0+ 1+ / any", single, "0+", "", false},
		{"0+ / 1+", best, "0123", "", false}, // nothing in common
		{"0+ / 1+", restricted, "0123", "", true},
		{"0+ / 1+", single, "-", "", true},

		// What is preferred has to be so to all, and the same.
		{"0+ 1+ / 01", best, "0", "", false},
		{"0+ 1+ 01 / 0 1+", restricted, "1+", "", false},
		{"01+ / 0+", best, "0", "", false},
		{"01+ / 0+", restricted, "0", "", true},
		{"01+", restricted, "01+", "", false},
		{"01+", single, "-", "", true},
		{"0", single, "-", "", true},

		// Of those that nobody prefers, as many nodes as who needs most.
		{"0 012 / 01 12", best, "01", "", false},
		{"01 012", best, "01", "", false},
		{"0 1 / 01 23", best, "0", "", false},
		{"01 23 / 0123", best, "01", "", false},
		{"0 1 / any / none", best, "0", "", false},

		// Of as many nodes, lower numbers, or those that are closer.
		{"02+ 12+", best, "02+", "12+", false},
		{"02+ 12+", restricted, "02+", "12+", false},
		{"03 12", best, "12", "", false},
		{"02 23", best, "02", "23", false},
		{"01+ 23+", best, "01+", "", false},
		{"012+ 03+", best, "03+", "", false},
	} {
		for _, near := range []bool{false, true} {
			want := test.want
			if near && test.closer != "" {
				want = test.closer
			}
			pl, err := New(Options{Policy: test.policy, Closest: near, Nodes: MaxDefault}, machine(4))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := pl.merge(choices(readHints(test.hints)))
			if got != readHint(want) || ok == test.refused {
				t.Errorf("%s of %q, closest %v: %s %v, taken %v; want %s", test.policy, test.hints, near, got.Nodes, got.Preferred, ok, want)
			}
		}
	}
}

// Many resources with many hints each are weighed as quickly as few: the ways to
// combine these would outlast the test.
func TestMergeOfMany(t *testing.T) {
	all := Hints{}
	for n := range 12 {
		for nodes := Nodes(1); nodes < 256; nodes++ {
			name := v1.ResourceName(strconv.Itoa(n))
			all[name] = append(all[name], Hint{nodes, nodes.Len() == 2})
		}
	}
	pl, err := New(Options{Policy: Restricted, Nodes: MaxDefault}, machine(8))
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := pl.merge(choices(all)); got != readHint("01+") || !ok {
		t.Error(got, ok)
	}
}
