package kubelet

import "boot.internal/kubelet/spec"

// nodeFacts returns what pods get to see of the node, with what the engine says
// of itself.
func (k *kubelet) nodeFacts() spec.Node {
	facts := k.facts
	engine := k.engine.Load()
	if engine == nil {
		return facts
	}
	facts.RecursiveReadOnly, facts.UserNamespaces = map[string]bool{}, map[string]bool{}
	for _, h := range engine.Handlers {
		f := h.Features
		facts.RecursiveReadOnly[h.Name] = f != nil && f.RecursiveReadOnlyMounts != nil && *f.RecursiveReadOnlyMounts
		facts.UserNamespaces[h.Name] = f != nil && f.UserNamespaces != nil && *f.UserNamespaces
	}
	return facts
}
