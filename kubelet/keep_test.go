package kubelet

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/mirror"
	"boot.internal/kubelet/podsapi"
)

// SP-60: what is kept is told as long as anything may be.
func TestKeptMemoryIsTold(t *testing.T) {
	k := &kubelet{o: Options{Config: &kubeletv1beta1.KubeletConfiguration{}}, metrics: newMetrics(), podsAPI: podsapi.New(nil), claims: noClaims(t), mirrors: mirror.New(mirror.Options{Node: "n1", Log: slog.New(slog.DiscardHandler)})}
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
