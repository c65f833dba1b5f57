package pod

import (
	"slices"

	v1 "k8s.io/api/core/v1"
)

// Claimed reports whether what a container asks for of an extended resource comes
// from a claim that the scheduler made for it (KEP-5004), and not from what the node
// itself has of that resource.
func Claimed(p *v1.Pod, container string, resource v1.ResourceName) bool {
	s := p.Status.ExtendedResourceClaimStatus
	return s != nil && slices.ContainsFunc(s.RequestMappings, func(m v1.ContainerExtendedResourceRequest) bool {
		return m.ContainerName == container && m.ResourceName == string(resource)
	})
}
