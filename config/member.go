package config

// A Member is what a node of a cluster knows of itself.
type Member struct {
	Name string
	// API is where the API server of this node is reached, and nil on a worker.
	API *APIEndpoint
	// Address is that of the node.
	Address string
	// CRISocket is that of the engine, empty if boot finds it.
	CRISocket string
	// Boot is what boot does on this node.
	Boot     BootConfiguration
	Patches  *Patches
	Timeouts *Timeouts
}

// Node returns the configuration of the node in the form of an [Init], as
// [Join.Node] does for one that joins.
func (m Member) Node(s Shared) *Init {
	j := &Join{Boot: m.Boot, Join: JoinConfiguration{
		NodeRegistration: NodeRegistrationOptions{Name: m.Name, CRISocket: m.CRISocket}, Patches: m.Patches, Timeouts: m.Timeouts,
	}}
	if m.API != nil {
		j.Join.ControlPlane = &JoinControlPlane{LocalAPIEndpoint: *m.API}
	}
	i := j.Node(s, "")
	setDefault(&i.Init.LocalAPIEndpoint.AdvertiseAddress, m.Address)
	setTimeouts(&i.Init.Timeouts)
	return i
}
