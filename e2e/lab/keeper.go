package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"boot.internal/e2e/internal/lab"
)

// None is what there is to say where nothing is. It is not empty because what is
// cannot be sent.
type None bool

// A Place is where things of the lab are.
type Place struct {
	API  string // where connections to the API servers are taken, on the machine
	Path string // of programs that nodes have besides the machine's
}

// A Role is what a node is in its cluster.
type Role string

// The roles.
const (
	controlPlane Role = "control-plane"
	worker       Role = "worker"
)

// A Spec is a node that is to be.
type Spec struct {
	Name string
	Role Role
	Boot string // the binary that imports images for all, if nobody has
}

// A State is a node as it is.
type State struct {
	lab.Info
	Role Role
	Port string // of the network: "", or what is wrong with it
}

// A Fault is done to a node, or undone.
type Fault struct {
	Nodes []string
	Kind  string // cut, mend, split, heal, slow, drop, kill or start
	Value uint64 // bytes a second, or packets of a hundred
}

// A Keeper has a lab and does what other commands ask for.
type Keeper struct {
	place Place
	lan   *lab.LAN
	disks string
	ended chan struct{}

	mu    sync.Mutex
	nodes map[string]*kept
	order []string
}

// kept is a node of the lab.
type kept struct {
	*lab.Node
	role Role
	port string
}

// Add makes a node that has all images.
func (k *Keeper) Add(s Spec, answer *State) error {
	k.mu.Lock()
	_, taken := k.nodes[s.Name]
	if !taken {
		k.nodes[s.Name] = nil // somebody makes it
	}
	k.mu.Unlock()
	if taken {
		return fmt.Errorf("there is a node %s already", s.Name)
	}
	n, err := k.lan.Add(s.Name, filepath.Join(k.disks, s.Name))
	if err == nil {
		if err = n.ShareImages(context.Background(), s.Boot); err != nil {
			err = errors.Join(err, n.Close())
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		delete(k.nodes, s.Name)
		return err
	}
	k.nodes[s.Name] = &kept{Node: n, role: s.Role}
	k.order = append(k.order, s.Name)
	*answer = k.nodes[s.Name].state()
	return nil
}

func (n *kept) state() State { return State{Info: n.Info(), Role: n.role, Port: n.port} }

// States tells of all nodes, control planes first, by name.
func (k *Keeper) States(_ None, answer *[]State) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, name := range k.order {
		*answer = append(*answer, k.nodes[name].state())
	}
	slices.SortFunc(*answer, func(a, b State) int { return a.IP.Compare(b.IP) })
	return nil
}

// Where tells where things are.
func (k *Keeper) Where(_ None, answer *Place) error { //nolint:unparam // what is called from outside returns one
	*answer = k.place
	return nil
}

// Do does something to nodes.
func (k *Keeper) Do(f Fault, _ *None) error {
	for _, name := range f.Nodes {
		k.mu.Lock()
		n := k.nodes[name]
		k.mu.Unlock()
		if n == nil {
			return fmt.Errorf("there is no node %s", name)
		}
		if err := k.one(n, f); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keeper) one(n *kept, f Fault) (err error) {
	port := n.port
	switch f.Kind {
	case "cut":
		err, port = k.lan.Cut(n.Node), "cut"
	case "mend":
		err, port = k.lan.Mend(n.Node), ""
	case "split":
		err, port = k.lan.Split(n.Node), "split"
	case "heal":
		err, port = k.lan.Heal(n.Node), ""
	case "slow":
		err, port = k.lan.Slow(n.Node, f.Value), fault(f.Value, "%d bytes/s")
	case "drop":
		err, port = k.lan.Drop(n.Node, int(f.Value)), fault(f.Value, "drops %d%%")
	case "kill":
		err, port = n.PowerOff(), ""
	case "start":
		err = n.PowerOn()
	}
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		n.port = port
	}
	return err
}

func fault(value uint64, format string) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(format, value)
}

// End ends the process of the lab. It does not come to answer.
func (k *Keeper) End(None, *None) error { //nolint:unparam // what is called from outside returns one
	close(k.ended)
	return nil
}

// Down takes all nodes away.
func (k *Keeper) Down(None, *None) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := make([]error, len(k.order))
	var group sync.WaitGroup
	for i, name := range k.order {
		group.Go(func() { errs[i] = k.nodes[name].Close() })
	}
	group.Wait()
	k.order = nil
	return errors.Join(errs...)
}
