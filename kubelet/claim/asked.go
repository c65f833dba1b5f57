package claim

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/resourceclaim"
)

// An ask is what a container wants of one claim.
type ask struct {
	claim    types.NamespacedName
	requests []string // of the claim; "" is all of them
}

// asks returns what a container wants of the claims of its pod, in their order.
func asks(p *v1.Pod, c *v1.Container) ([]ask, error) {
	var all []ask
	for i := range p.Spec.ResourceClaims {
		declared := &p.Spec.ResourceClaims[i]
		var requests []string
		for _, r := range c.Resources.Claims {
			if r.Name == declared.Name {
				requests = append(requests, r.Request)
			}
		}
		if len(requests) == 0 {
			continue
		}
		n, _, err := resourceclaim.Name(p, declared)
		if err != nil {
			return nil, err
		}
		if n != nil {
			all = append(all, ask{types.NamespacedName{Namespace: p.Namespace, Name: *n}, requests})
		}
	}
	if a, ok := extended(p, c); ok {
		all = append(all, a)
	}
	return all, nil
}

// extended returns what a container wants of the claim that the scheduler made for
// the extended resources of the pod (KEP-5004).
func extended(p *v1.Pod, c *v1.Container) (ask, bool) {
	s := p.Status.ExtendedResourceClaimStatus
	if s == nil {
		return ask{}, false
	}
	a := ask{claim: types.NamespacedName{Namespace: p.Namespace, Name: s.ResourceClaimName}}
	for _, m := range s.RequestMappings {
		asked := c.Resources.Requests[v1.ResourceName(m.ResourceName)]
		if m.ContainerName == c.Name && !asked.IsZero() && isExtended(m.ResourceName) {
			a.requests = append(a.requests, m.RequestName)
		}
	}
	return a, len(a.requests) > 0
}

// isExtended reports whether a resource is one that a claim can back.
func isExtended(name string) bool {
	domain, _, found := strings.Cut(name, "/")
	native := domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")
	return found && !native || strings.HasPrefix(name, resourceapi.ResourceDeviceClassPrefix)
}

// covers reports whether a device that was prepared for some requests of a claim is
// for one of those that are asked for.
func covers(prepared, asked []string) bool {
	return len(prepared) == 0 || slices.ContainsFunc(asked, func(a string) bool {
		return a == "" || slices.Contains(prepared, a)
	})
}
