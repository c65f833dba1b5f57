// Package numa knows the shape of the machine, its CPUs and NUMA nodes, and decides
// from which of these nodes a container may take what it asks for, where several
// kinds of things are to come from the same: CPUs, memory, devices (upstream's
// topology manager, KEP-693).
//
// It is pure but for Discover. Who owns things (packages cpus, numamem, device) says by
// hints where they could come from; a Policy makes one placement of the hints of all.
package numa

import (
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// MaxNodes is how many NUMA nodes a machine may have.
const MaxNodes = 64

// Nodes is a set of NUMA nodes, bit n for node n. None stands for no preference.
type Nodes uint64

// NodesOf returns the set of the nodes of these numbers, from 0 to MaxNodes-1.
func NodesOf(ids ...int) Nodes {
	var all Nodes
	for _, id := range ids {
		all |= 1 << id
	}
	return all
}

// Has reports whether a node is in the set.
func (n Nodes) Has(id int) bool { return n&(1<<id) != 0 }

// Len returns how many nodes there are.
func (n Nodes) Len() int { return bits.OnesCount64(uint64(n)) }

// Within reports whether all nodes of n are of all.
func (n Nodes) Within(all Nodes) bool { return n&^all == 0 }

// IDs yields the numbers of the nodes, lowest first.
func (n Nodes) IDs() iter.Seq[int] {
	return func(yield func(int) bool) {
		for rest := uint64(n); rest != 0; rest &= rest - 1 {
			if !yield(bits.TrailingZeros64(rest)) {
				return
			}
		}
	}
}

// Narrower reports whether n is the better of two placements that are as good
// otherwise: the one of fewer nodes, then of lower numbers.
func (n Nodes) Narrower(than Nodes) bool {
	if n.Len() != than.Len() {
		return n.Len() < than.Len()
	}
	return n < than
}

// String returns the nodes' numbers: "0,1".
func (n Nodes) String() string {
	var ids []string
	for id := range n.IDs() {
		ids = append(ids, strconv.Itoa(id))
	}
	return strings.Join(ids, ",")
}

// A Hint is one placement that is possible.
type Hint struct {
	Nodes     Nodes // none: anywhere
	Preferred bool  // no narrower one would be possible on this machine
}

// Hints are the placements that are possible, by resource. A resource that may come
// from anywhere has none listed (nil); one that can come from nowhere has an empty
// list.
type Hints map[v1.ResourceName][]Hint

// A Provider owns things of NUMA nodes and gives them to containers. All methods may be
// called at any time, one at a time for each provider.
type Provider interface {
	// Hints returns where what a container asks for may come from. A container that has
	// it already gets that placement as the only one.
	Hints(p *v1.Pod, container string) Hints
	// PodHints does the same for all containers of the pod together, for the scope pod.
	PodHints(p *v1.Pod) Hints
	// Allocate takes for a container what it asks for, from the placement if it has one,
	// unless it has that already. An error refuses the pod.
	Allocate(p *v1.Pod, container string, at Hint) error
	// Forget gives back what the containers of a pod have.
	Forget(p types.UID)
}

// A Refusal is why a pod may not run here: it fails with Reason, in upstream's words.
type Refusal struct {
	Reason string // "TopologyAffinityError", "SMTAlignmentError", "UnexpectedAdmissionError"…
	Err    error
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s: %v", r.Reason, r.Err) }

// Unwrap returns the cause.
func (r *Refusal) Unwrap() error { return r.Err }
