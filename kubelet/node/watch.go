package node

import (
	"context"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/follow"
)

// watch follows this node's own object until ctx ends.
func (k *Keeper) watch(ctx context.Context, client API) {
	follow.Run(ctx, client.CoreV1().Nodes(), &v1.Node{}, store{k}, follow.Options{
		Name: "node", Fields: follow.Field("metadata.name", k.o.Name), // step says that the API does not answer
	})
}

// A store is what client-go's reflector writes nodes to. It keeps one.
type store struct{ k *Keeper }

// Add takes a node that is new.
func (s store) Add(obj any) error { return s.Update(obj) }

// Update takes a node that changed. A Keeper that has not registered yet looks
// for itself.
func (s store) Update(obj any) error {
	if n, ok := obj.(*v1.Node); ok && s.k.Node() != nil {
		s.k.seen(n)
	}
	return nil
}

// Delete takes a node that is gone.
func (s store) Delete(any) error {
	s.k.doubt()
	return nil
}

// Replace takes everything there is.
func (s store) Replace(list []any, _ string) error {
	if len(list) == 0 {
		s.k.doubt()
		return nil
	}
	return s.Update(list[0])
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }
