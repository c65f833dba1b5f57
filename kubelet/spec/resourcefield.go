package spec

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
)

// resourceField returns a request or limit in units of the divisor, rounded
// up. A limit that is not set is what the node can give at most.
func resourceField(p *v1.Pod, c *v1.Container, n Node, ref *v1.ResourceFieldSelector) (string, error) {
	if ref.ContainerName != "" && ref.ContainerName != c.Name {
		d, ok := pod.Find(p, ref.ContainerName)
		if !ok {
			return "", fmt.Errorf("container %q is not in the pod", ref.ContainerName)
		}
		c = d.Container
	}
	list, name, _ := strings.Cut(ref.Resource, ".")
	resourceName := v1.ResourceName(name)
	switch resourceName {
	case v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage:
	default:
		if !strings.HasPrefix(name, v1.ResourceHugePagesPrefix) {
			return "", fmt.Errorf("resource %q is not supported", ref.Resource)
		}
	}
	switch list {
	case "requests":
		return inUnits(c.Resources.Requests[resourceName], resourceName, ref.Divisor), nil
	case "limits":
		return inUnits(limitOf(c, n, resourceName), resourceName, ref.Divisor), nil
	}
	return "", fmt.Errorf("resource %q is not supported", ref.Resource)
}

func limitOf(c *v1.Container, n Node, name v1.ResourceName) resource.Quantity {
	if q, ok := c.Resources.Limits[name]; ok && !q.IsZero() {
		return q
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
