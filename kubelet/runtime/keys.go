package runtime

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// A Summary is what two cheap lists tell of one key.
type Summary struct {
	// Fingerprint differs when a sandbox or container came, went or changed
	// its state.
	Fingerprint uint64
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
	states := map[pod.Key][]string{}
	for _, s := range sandboxes.Items {
		if key, ok := keyOf(s.Labels); ok {
			sum := all[key]
			sum.Sandboxes = append(sum.Sandboxes, listedSandbox(s))
			all[key] = sum
			states[key] = append(states[key], s.Id+s.State.String())
		}
	}
	for _, c := range containers.Containers {
		if key, ok := keyOf(c.Labels); ok {
			states[key] = append(states[key], c.Id+c.State.String())
		}
	}
	for key, lines := range states {
		sum := all[key]
		newestFirst(sum.Sandboxes)
		sum.Fingerprint = fingerprint(lines)
		all[key] = sum
	}
	return all, nil
}

// keyOf returns the key from the labels of a sandbox or container, if it was
// made by a kubelet.
func keyOf(labels map[string]string) (pod.Key, bool) {
	key := pod.Key{Namespace: labels[pod.LabelPodNamespace], Name: labels[pod.LabelPodName]}
	return key, key.Name != ""
}

// fingerprint does not depend on the order of lines.
func fingerprint(lines []string) uint64 {
	slices.Sort(lines)
	h := fnv.New64a()
	for _, l := range lines {
		_, _ = h.Write([]byte(l)) // a hash never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}
