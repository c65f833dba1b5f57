package runtime

import (
	"context"
	"fmt"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// A Summary is what two cheap lists tell of one key.
type Summary struct {
	// States are those of all sandboxes and containers, see pod.Observed.States.
	States map[string]pod.State
	// Sandboxes are the newest first, without what only their status tells:
	// addresses and network.
	Sandboxes []pod.Sandbox
}

// Keys returns all pods the runtime has anything of. It is for adoption at
// start and for the slow relist beneath the event stream.
func (r *Runtime) Keys(ctx context.Context) (map[pod.Key]Summary, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	sandboxes, err := r.o.CRI.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := r.o.CRI.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := map[pod.Key]Summary{}
	for _, s := range sandboxes.Items {
		if key, ok := keyOf(s.Labels); ok {
			sum := summary(all, key)
			listed := listedSandbox(s)
			sum.Sandboxes = append(sum.Sandboxes, listed)
			sum.States[s.Id] = listed.State()
			all[key] = sum
		}
	}
	for _, c := range containers.Containers {
		if key, ok := keyOf(c.Labels); ok {
			sum := summary(all, key)
			sum.States[c.Id] = stateOf(c.State)
			all[key] = sum
		}
	}
	for _, sum := range all {
		newestFirst(sum.Sandboxes)
	}
	return all, nil
}

func summary(all map[pod.Key]Summary, key pod.Key) Summary {
	if sum, ok := all[key]; ok {
		return sum
	}
	return Summary{States: map[string]pod.State{}}
}

// keyOf returns the key from the labels of a sandbox or container, if it was
// made by a kubelet.
func keyOf(labels map[string]string) (pod.Key, bool) {
	key := pod.Key{Namespace: labels[pod.LabelPodNamespace], Name: labels[pod.LabelPodName]}
	return key, key.Name != ""
}
