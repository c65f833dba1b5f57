package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// SP-60: what is kept is told as long as anything may be.
func TestKeptMemoryIsTold(t *testing.T) {
	k := newMeasured(t)
	k.metrics.kept.set(1, 2)
	for name, want := range map[string]float64{"min": 1, "low": 2} {
		if diff := cmp.Diff(map[string]float64{"": want}, gathered(t, k, "kubelet_memory_qos_node_memory_"+name+"_bytes")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	k.facts.Keep.Off = true
	if got := gathered(t, k, "kubelet_memory_qos_node_memory_min_bytes"); len(got) > 0 {
		t.Errorf("behind the gate %v", got)
	}
}
