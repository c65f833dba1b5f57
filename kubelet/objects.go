package kubelet

import (
	"context"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/object"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/podcert"
	"boot.internal/kubelet/token"
	"boot.internal/kubelet/trust"
)

// newObjects makes what knows the objects of the API that pods are made of, and
// what has running pods follow them.
func (k *kubelet) newObjects(ctx context.Context) {
	k.refresher = newRefresher(
		func(ctx context.Context, p *v1.Pod) error { return k.volumes.Refresh(ctx, p) }, k.refreshFailed)
	changed := func(key pod.Key, uid types.UID) {
		go k.dispatch.retryOf(ctx, key) // a pod that missed something has another chance
		k.refresher.poke(uid)
	}
	k.objects = object.New(object.Options{Changed: changed, Log: k.o.Logger})
	k.tokens = token.New(token.Options{Due: k.refresher.poke, Log: k.o.Logger})
	k.bundles = trust.New(trust.Options{Changed: func() { k.bundlesChanged(ctx) }, Log: k.o.Logger})
	k.podCerts = podcert.New(podcert.Options{
		Node: k.o.Node, NodeUID: k.nodeUID, Changed: changed, Event: k.events.ofPod, Log: k.o.Logger,
	})
}

// nodeUID returns the UID of the Node in the API, "" while it is not known.
func (k *kubelet) nodeUID() types.UID {
	if n := k.node.Node(); n != nil {
		return n.UID
	}
	return ""
}

// followObjects follows the objects until ctx ends.
func (k *kubelet) followObjects(ctx context.Context, client kubernetes.Interface) {
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { k.objects.Run(ctx, client.CoreV1()) })
	all.Go(func() { k.tokens.Run(ctx, client.CoreV1()) })
	all.Go(func() { k.bundles.Run(ctx, client) })
	all.Go(func() { k.podCerts.Run(ctx, client) })
	all.Go(func() { k.refresher.run(ctx) })
}

// setObjects tells which pods use objects: what still ends may, too, but what
// has ended does not, however long the API keeps it.
func (k *kubelet) setObjects(admitted, going []*v1.Pod) {
	all := slices.DeleteFunc(slices.Concat(admitted, going), func(p *v1.Pod) bool { return k.isOver(p.UID) })
	k.objects.SetPods(all)
	k.tokens.Keep(all)
	k.podCerts.SetPods(all)
	k.refresher.setPods(all)
}

// bundlesChanged tells the pods that show trust bundles.
func (k *kubelet) bundlesChanged(ctx context.Context) {
	for _, p := range k.refresher.pokeAll(showsBundles) {
		go k.dispatch.retryOf(ctx, pod.KeyOf(p))
	}
}

func showsBundles(p *v1.Pod) bool {
	for _, vol := range p.Spec.Volumes {
		if vol.Projected == nil {
			continue
		}
		for _, s := range vol.Projected.Sources {
			if s.ClusterTrustBundle != nil {
				return true
			}
		}
	}
	return false
}
