package numa

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// A Policy says what is refused because its parts would not lie near to each other.
// The values are those of topologyManagerPolicy.
type Policy string

// The policies.
const (
	None       Policy = "none"             // nobody is asked where things lie
	BestEffort Policy = "best-effort"      // nothing is refused
	Restricted Policy = "restricted"       // what lies on more nodes than it would have to
	SingleNode Policy = "single-numa-node" // what lies on more than one node
)

// Policies are all of them.
func Policies() []string {
	return []string{string(None), string(BestEffort), string(Restricted), string(SingleNode)}
}

// A Scope says what is to lie together. The values are those of topologyManagerScope.
type Scope string

// The scopes.
const (
	PerContainer Scope = "container" // what one container has
	PerPod       Scope = "pod"       // what all containers of a pod have
)

// Options are those of a policy.
type Options struct {
	Policy Policy
	Scope  Scope
	// Closest prefers, of as many nodes, those that are closer to each other. It needs
	// distances, and means nothing to SingleNode.
	Closest bool
	// Nodes is how many NUMA nodes a machine may have; MaxDefault unless told.
	Nodes int
	// Aligned is told by SingleNode of each container, or pod if that is the scope,
	// that lies on one node, and of each that is refused since it would not; nil:
	// nobody is.
	Aligned func(is bool)
}

// MaxDefault is how many NUMA nodes a machine may have unless more are allowed: each
// doubles the number of placements there are to weigh.
const MaxDefault = 8

const (
	closest  = "prefer-closest-numa-nodes"
	maxNodes = "max-allowable-numa-nodes"
)

// Parse reads topologyManagerPolicyOptions into o. All options are for everybody, none
// needs a feature gate. An error names what is wrong in the kubelet's words.
func (o *Options) Parse(options map[string]string) error {
	o.Nodes = MaxDefault
	for _, name := range slices.Sorted(maps.Keys(options)) {
		value := options[name]
		var err error
		switch name {
		case closest:
			if o.Closest, err = strconv.ParseBool(value); err != nil {
				return fmt.Errorf("bad value for option %q: %w", name, err)
			}
		case maxNodes:
			if o.Nodes, err = strconv.Atoi(value); err != nil {
				return fmt.Errorf("unable to convert policy option to integer %q: %w", name, err)
			}
			if o.Nodes < MaxDefault {
				return fmt.Errorf("the minimum value of %q should not be less than %d", name, MaxDefault)
			}
		default:
			return fmt.Errorf("unknown Topology Manager Policy option: %q", name)
		}
	}
	return nil
}
