package pod

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestClaimed(t *testing.T) {
	p := &v1.Pod{}
	if Claimed(p, "main", "example.com/gpu") {
		t.Error("nothing is claimed, and this is")
	}
	p.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{RequestMappings: []v1.ContainerExtendedResourceRequest{
		{ContainerName: "main", ResourceName: "example.com/gpu", RequestName: "container-0-request-0"},
	}}
	for _, tt := range []struct {
		container string
		resource  v1.ResourceName
		want      bool
	}{
		{"main", "example.com/gpu", true}, {"main", "example.com/nic", false}, {"other", "example.com/gpu", false},
	} {
		if got := Claimed(p, tt.container, tt.resource); got != tt.want {
			t.Errorf("%s of %s: %t", tt.resource, tt.container, got)
		}
	}
}
