package admit

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/status"
)

// checkPressure keeps pods from a node that is short of something: critical
// pods are let in all the same, and where only memory is short, pods that ask
// for some or say that they do not mind.
func checkPressure(p *v1.Pod, n Node) *Rejection {
	if len(n.Pressure) == 0 || IsCritical(p) {
		return nil
	}
	if slices.Equal(n.Pressure, []v1.NodeConditionType{v1.NodeMemoryPressure}) {
		taint := v1.Taint{Key: v1.TaintNodeMemoryPressure, Effect: v1.TaintEffectNoSchedule}
		if status.QOSClass(p) != v1.PodQOSBestEffort || tolerates(p, taint) {
			return nil
		}
	}
	return &Rejection{"Evicted", fmt.Sprintf("The node had condition: %v. ", n.Pressure)}
}

func checkShutdown(n Node) *Rejection {
	if n.ShuttingDown {
		return &Rejection{"NodeShutdown", "Pod was rejected as the node is shutting down."}
	}
	return nil
}
