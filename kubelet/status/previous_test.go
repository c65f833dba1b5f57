package status_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/status"
)

// From the first restart on there always is a container before, for `kubectl logs
// --previous`: it is told as the last state, also while what is older than that is
// removed, and until the next one runs. Each step goes on from what was said in
// the one before.
func TestThereIsAlwaysAContainerBefore(t *testing.T) {
	const pod = "pod\nregular a\nsandbox s ready\n"
	prev := v1.PodStatus{}
	for _, step := range []struct{ what, scene, want string }{
		{"runs", "is a running attempt=2 backoff=20s id=2\nis a exited code=1 attempt=1 ago=60s id=1", "running, before 1"},
		{"exits", "is a exited code=1 attempt=2 backoff=20s ago=1s id=2\nis a exited code=1 attempt=1 ago=60s id=1", "CrashLoopBackOff, before 2"},
		{"is collected", "is a exited code=1 attempt=2 backoff=20s ago=2s id=2", "CrashLoopBackOff, before 2"},
		{"is due", "is a exited code=1 attempt=2 backoff=20s ago=21s id=2", "CrashLoopBackOff, before 2"},
		{"is made", "is a created attempt=3 backoff=40s id=3\nis a exited code=1 attempt=2 backoff=20s ago=22s id=2", "CrashLoopBackOff, before 2"},
		{"runs again", "is a running attempt=3 backoff=40s id=3\nis a exited code=1 attempt=2 backoff=20s ago=23s id=2", "running, before 2"},
	} {
		in := input(t, pod+step.scene)
		in.Prev = prev
		prev = status.Of(in)
		c := prev.ContainerStatuses[0]
		if diff := cmp.Diff(step.want, told(c)); diff != "" {
			t.Errorf("once it %s (-want +got):\n%s", step.what, diff)
		}
	}
}

func told(c v1.ContainerStatus) string {
	state, before := "running", "none"
	switch {
	case c.State.Waiting != nil:
		state = c.State.Waiting.Reason
	case c.State.Terminated != nil:
		state = "terminated"
	}
	if last := c.LastTerminationState.Terminated; last != nil {
		_, before, _ = strings.Cut(last.ContainerID, "://")
	}
	return fmt.Sprintf("%s, before %s", state, before)
}
