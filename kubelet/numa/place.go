package numa

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
)

// A Placer has pods placed by a policy, one at a time. Its methods may be called from
// any goroutine.
type Placer struct {
	o Options
	m *Machine

	mu sync.Mutex // held while a pod is placed
}

// ErrTopology is why a pod is refused whose parts would not lie near to each other.
var ErrTopology = errors.New("Resources cannot be allocated with Topology locality") //nolint:staticcheck // the words of upstream

// New returns a Placer for a machine. Machines that the policy cannot be had on are an
// error.
func New(o Options, m *Machine) (*Placer, error) {
	pl := &Placer{o: o, m: m}
	far := slices.ContainsFunc(m.Nodes, func(n Node) bool { return len(n.Distances) != len(m.Nodes) })
	switch {
	case o.Policy == None:
		return pl, nil
	case len(m.Nodes) > o.Nodes:
		err := fmt.Errorf("unsupported on machines with more than %d NUMA Nodes", o.Nodes)
		return nil, &shapeError{err, "allow more with topologyManagerPolicyOptions: " + maxNodes}
	case o.Closest && far:
		return nil, &shapeError{errors.New("error getting NUMA distances"), "the kernel does not tell them: leave out " + closest}
	}
	return pl, nil
}

// A shapeError is why a policy cannot be had on this machine.
type shapeError struct {
	error
	hint string
}

// Hint returns what to do.
func (e *shapeError) Hint() string { return e.hint }

// Unwrap returns the cause.
func (e *shapeError) Unwrap() error { return e.error }

// Asks reports whether owners are asked where things could come from.
func (pl *Placer) Asks() bool { return pl.o.Policy != None }

// Place has a pod's containers take what they ask for from its owners, near to each
// other as the policy has it: init containers and sidecars first, then the rest, each
// from all owners in order. Who has something already keeps it. An error refuses the
// pod; what its containers took by then they keep until the pod is forgotten.
func (pl *Placer) Place(p *v1.Pod, owners ...Provider) error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	var at Hint
	together := pl.Asks() && pl.o.Scope == PerPod
	if together {
		var err error
		if at, err = pl.decide(owners, func(o Provider) Hints { return o.PodHints(p) }); err != nil {
			return err
		}
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if err := pl.place(p, c.Name, at, owners); err != nil {
			return err
		}
	}
	if together {
		pl.aligned(true)
	}
	return nil
}

// place places a container, at what was decided for its pod if the scope is that.
func (pl *Placer) place(p *v1.Pod, container string, at Hint, owners []Provider) (err error) {
	alone := pl.Asks() && pl.o.Scope != PerPod
	if alone {
		if at, err = pl.decide(owners, func(o Provider) Hints { return o.Hints(p, container) }); err != nil {
			return err
		}
	}
	for _, o := range owners {
		if err := o.Allocate(p, container, at); err != nil {
			return err
		}
	}
	if alone {
		pl.aligned(true)
	}
	return nil
}

// decide asks all owners where things could come from and chooses.
func (pl *Placer) decide(owners []Provider, ask func(Provider) Hints) (Hint, error) {
	var all [][]Hint
	for _, o := range owners {
		all = append(all, choices(ask(o))...)
	}
	best, ok := pl.merge(all)
	if !ok {
		pl.aligned(false)
		return best, &Refusal{Reason: "TopologyAffinityError", Err: ErrTopology}
	}
	return best, nil
}

func (pl *Placer) aligned(is bool) {
	if pl.o.Aligned != nil && pl.o.Policy == SingleNode {
		pl.o.Aligned(is)
	}
}
