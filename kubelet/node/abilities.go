package node

import v1 "k8s.io/api/core/v1"

// setFeatures writes what node and runtime can do. What the runtime said last
// holds while it says nothing.
func setFeatures(s *v1.NodeStatus, r *Runtime) {
	s.DeclaredFeatures = DeclaredFeatures()
	if r != nil && len(r.Handlers) > 0 {
		s.RuntimeHandlers = r.Handlers
	}
	if r != nil && r.Features != nil {
		s.Features = r.Features
	}
}
