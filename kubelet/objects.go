package kubelet

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/object"
	"boot.internal/kubelet/pod"
)

// newObjects makes what knows the Secrets and ConfigMaps of pods.
func (k *kubelet) newObjects(ctx context.Context) {
	k.objects = object.New(object.Options{
		// A pod that missed an object has another chance.
		Changed: func(key pod.Key, _ types.UID) { go k.dispatch.retryOf(ctx, key) },
		Log:     k.o.Logger,
	})
}

// setObjects tells which pods use objects: what still ends may, too.
func (k *kubelet) setObjects(desired, going []*v1.Pod) {
	k.objects.SetPods(slices.Concat(desired, going))
}
