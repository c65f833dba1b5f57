package admit_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/admit"
)

// What a claim gives a pod is none of what the node has (KEP-5004).
func TestClaimed(t *testing.T) {
	const gpu = "example.com/gpu"
	claimed := func(p *v1.Pod) {
		p.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{RequestMappings: []v1.ContainerExtendedResourceRequest{
			{ContainerName: "c", ResourceName: gpu, RequestName: "container-0-request-0"},
		}}
	}
	n := node()
	n.Devices = map[v1.ResourceName]int64{gpu: 1}
	holder, other := static("holder", asks(gpu, "1")), static("other", asks(gpu, "1"))
	if why := admit.Check(other, []*v1.Pod{holder}, n); why == nil {
		t.Error("two pods have the only device")
	}
	backed := static("backed", asks(gpu, "1"), claimed)
	if why := admit.Check(backed, []*v1.Pod{holder}, n); why != nil {
		t.Errorf("a claim gives it another: %v", why)
	}
	if why := admit.Check(other, []*v1.Pod{backed}, n); why != nil {
		t.Errorf("the device is free: %v", why)
	}
	if q := backed.Spec.Containers[0].Resources.Requests[gpu]; q.Value() != 1 {
		t.Error("the pod itself was changed")
	}
}
