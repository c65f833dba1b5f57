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
	facts.RecursiveReadOnly = map[string]bool{}
	for _, h := range engine.Handlers {
		f := h.Features
		facts.RecursiveReadOnly[h.Name] = f != nil && f.RecursiveReadOnlyMounts != nil && *f.RecursiveReadOnlyMounts
	}
	return facts
}
