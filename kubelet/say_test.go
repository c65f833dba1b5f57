package kubelet

import (
	"testing"

	"boot.internal/kubelet/pod"
)

// SP-56: a mirror is of what runs until nothing of that runs any more.
func TestAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		have pod.Observed
		want bool
	}{
		"nothing":           {pod.Observed{}, true},
		"its own":           {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "1", Ready: true}}, Containers: []pod.Container{{PodUID: "1", State: pod.Running}}}, true},
		"remains":           {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "0"}}, Containers: []pod.Container{{PodUID: "0", State: pod.Exited}}}, true},
		"another's":         {pod.Observed{Containers: []pod.Container{{PodUID: "0", State: pod.Running}}}, false},
		"another's, hidden": {pod.Observed{Containers: []pod.Container{{PodUID: "0", State: pod.Unknown}}}, false},
		"another's sandbox": {pod.Observed{Sandboxes: []pod.Sandbox{{UID: "0", Ready: true}}}, false},
	} {
		if got := alone("1", tt.have); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
