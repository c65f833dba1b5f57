package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresource "k8s.io/component-helpers/resource"

	"boot.internal/kubelet/pod"
)

// resourceField returns a request or limit in units of the divisor, rounded
// up. A limit that is not set is what the node can give at most.
func resourceField(p *v1.Pod, c *v1.Container, n Node, ref *v1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != c.Name {
		d, ok := pod.Find(p, ref.ContainerName)
		if !ok {
			return "", fmt.Errorf("container %s not found", ref.ContainerName)
		}
		c = d.Container
	}
	list, name, _ := strings.Cut(ref.Resource, ".")
	resourceName := v1.ResourceName(name)
	switch resourceName {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage:
	default:
		if !strings.HasPrefix(name, v1.ResourceHugePagesPrefix) {
			return "", fmt.Errorf("unsupported container resource : %s", ref.Resource)
		}
	}
	switch list {
	case "requests":
		return inUnits(c.Resources.Requests[resourceName], resourceName, ref.Divisor), nil
	case "limits":
		return inUnits(limitOf(p, c, n, resourceName), resourceName, ref.Divisor), nil
	}
	return "", fmt.Errorf("unsupported container resource : %s", ref.Resource)
}

// limitOf returns the limit of a container: its own, else that of its pod, else
// what the node has. Of huge pages there is never more than was asked for.
func limitOf(p *v1.Pod, c *v1.Container, n Node, name v1.ResourceName) resource.Quantity {
	q := c.Resources.Limits[name]
	if !q.IsZero() || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
		return q
	}
	if p.Spec.Resources != nil && podresource.IsSupportedPodLevelResource(name) {
		if q := p.Spec.Resources.Limits[name]; !q.IsZero() {
			return q
		}
	}
	return n.Allocatable[name]
}

func inUnits(q resource.Quantity, name v1.ResourceName, divisor resource.Quantity) string {
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	var v float64
	if name == v1.ResourceCPU {
		v = float64(q.MilliValue()) / float64(divisor.MilliValue())
	} else {
		v = float64(q.Value()) / float64(divisor.Value())
	}
	return strconv.FormatInt(int64(math.Ceil(v)), 10)
}
