package status

import (
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// Seeds returns what a status says of the probes of containers that run, by
// their ID in the runtime. After a restart of boot the prober goes on from it
// with the status that the API holds, so that a sidecar that had started has,
// and a ready pod stays ready (IC-26).
func Seeds(s v1.PodStatus) map[string]pod.Verdict {
	seeds := map[string]pod.Verdict{}
	for _, list := range [][]v1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for _, c := range list {
			if _, id, ok := strings.Cut(c.ContainerID, "://"); ok && c.State.Running != nil {
				seeds[id] = pod.Verdict{Started: isTrue(c.Started), Ready: c.Ready}
			}
		}
	}
	return seeds
}
