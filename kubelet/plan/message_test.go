package plan_test

import (
	"testing"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

func TestMessage(t *testing.T) {
	for why, want := range map[string]string{
		"pod removed": "Stopping container a",
		"Evicted":     "Stopping container a",
		"failed liveness probe, will be restarted": "Container a failed liveness probe, will be restarted",
		"failed startup probe":                     "Container a failed startup probe",
		"definition changed, will be restarted":    "Container a definition changed, will be restarted",
	} {
		if got := plan.Message(pod.KillContainer{Name: "a", Why: why}); got != want {
			t.Errorf("%q: %q, want %q", why, got, want)
		}
	}
}
