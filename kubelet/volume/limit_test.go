package volume

import (
	"context"
	"errors"
	"testing"

	"boot.internal/kubelet/pod"
)

func TestOverLimit(t *testing.T) {
	err := overLimit("data", map[string]bool{"tmp": true, "data": true, "more": true}, map[string]pod.Volume{"tmp": {}})
	var failed *pod.ActionError
	if !errors.As(err, &failed) || failed.Reason != "VolumeAttachmentLimitExceeded" || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	const want = "Node has reached its volume attachment limit, rejecting pod. " +
		"unmounted volumes=[data more], unattached volumes=[data], failed to process volumes=[]: context deadline exceeded"
	if got := failed.Err.Error(); got != want {
		t.Errorf("%s; want %s", got, want)
	}
}
