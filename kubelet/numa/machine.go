package numa

// A Machine is the shape of this one: what lies near to what.
type Machine struct {
	CPUs  []CPU  // those that are online, by number
	Nodes []Node // by number, at least one
}

// A CPU is one that the kernel schedules on: a thread of a core.
type CPU struct {
	ID     int
	Core   int // the lowest CPU of the same core
	Socket int
	Node   int // NUMA node
	// Cache is the cache beyond the second level that the core shares with some of
	// the node; that of a node without such is as Socket.
	Cache int
}

// A Node is a NUMA node. It may have no CPUs, or no memory.
type Node struct {
	ID     int
	Memory uint64            // bytes; 0 where the kernel does not say by node
	Pages  map[uint64]uint64 // huge pages, by their size in bytes; some sizes may have none
	// Distances are those to all nodes of the machine, in their order; 10 is that to
	// itself. Empty where the kernel does not say.
	Distances []int
}

// All returns all nodes of the machine.
func (m *Machine) All() Nodes {
	var all Nodes
	for _, n := range m.Nodes {
		all |= NodesOf(n.ID)
	}
	return all
}
