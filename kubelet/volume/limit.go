package volume

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"boot.internal/kubelet/pod"
)

// ReasonLimit is why a pod fails whose volumes the node has no room for, as
// upstream spells it (KEP-4876).
const ReasonLimit = "VolumeAttachmentLimitExceeded"

// overLimit says, in upstream's words, that a volume is one too many for the node.
// Of those that are used, all that were not made are named.
func overLimit(volume string, used map[string]bool, made map[string]pod.Volume) error {
	missing := maps.Clone(used)
	maps.DeleteFunc(missing, func(name string, _ bool) bool {
		_, ok := made[name]
		return ok
	})
	return &pod.ActionError{Reason: ReasonLimit, Err: fmt.Errorf( //nolint:staticcheck // the words of upstream
		"Node has reached its volume attachment limit, rejecting pod. unmounted volumes=%v, unattached volumes=%v, failed to process volumes=[]: %w",
		slices.Sorted(maps.Keys(missing)), []string{volume}, context.DeadlineExceeded)}
}
