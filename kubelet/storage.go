package kubelet

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/spec"
	"boot.internal/kubelet/volume/csi"
)

// newCSI makes what mounts volumes by drivers.
func (k *kubelet) newCSI(ctx context.Context) {
	k.csi = csi.New(csi.Options{
		RootDir: k.o.RootDir, Node: k.o.Node, Client: k.apiClient, NodeObject: k.node.Node,
		InUse:   k.node.SetVolumesInUse,
		Arrived: func() { k.dispatch.retry(ctx) },
		Event:   k.events.ofPod, Log: k.o.Logger,
	})
	k.node.SetVolumesInUse(k.csi.InUse())
}

// followStorage keeps what drivers are about in the API, until ctx ends.
func (k *kubelet) followStorage(ctx context.Context) { k.csi.Init(ctx) }

// onNode passes a new Node object on to those who go by it.
func (k *kubelet) onNode(n *v1.Node) {
	k.mirrors.SetNode(n)
	k.setNode(n)
	k.csi.NodeChanged()
}

// apiClient returns a client of the API, nil while there is none.
func (k *kubelet) apiClient() kubernetes.Interface {
	if c := k.client.Load(); c != nil {
		return *c
	}
	return nil
}

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
