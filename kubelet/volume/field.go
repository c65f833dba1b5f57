package volume

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
)

// fieldValue returns the text of a field of the pod that files may tell of:
// those that other parts of the spec, such as the node's IP, are not known for
// as long as the volume lives are for environment variables alone.
func fieldValue(p *v1.Pod, path string) (string, error) {
	if value, ok := pod.MetadataField(p, path); ok {
		return value, nil
	}
	switch path {
	case "metadata.labels":
		return lines(p.Labels), nil
	case "metadata.annotations":
		return lines(p.Annotations), nil
	default:
		return "", fmt.Errorf("field path %q is not supported in a volume", path)
	}
}

// lines returns key="value" lines, sorted, without a newline at the end.
func lines(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+"="+strconv.Quote(m[k]))
	}
	return strings.Join(out, "\n")
}

// resourceValue returns a request or limit of a container in units of the
// divisor, rounded up. Without a limit, it is what the node has.
func resourceValue(c *v1.Container, ref *v1.ResourceFieldSelector, node v1.ResourceList) (string, error) {
	list, name, _ := strings.Cut(ref.Resource, ".")
	var q resource.Quantity
	switch list {
	case "limits":
		q = c.Resources.Limits[v1.ResourceName(name)]
		if q.IsZero() {
			q = node[v1.ResourceName(name)]
		}
	case "requests":
		q = c.Resources.Requests[v1.ResourceName(name)]
	default:
		return "", fmt.Errorf("resource %q is not supported", ref.Resource)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	switch {
	case name == string(v1.ResourceCPU):
		return divide(q.MilliValue(), divisor.MilliValue()), nil
	case name == string(v1.ResourceMemory), name == string(v1.ResourceEphemeralStorage),
		strings.HasPrefix(name, v1.ResourceHugePagesPrefix):
		return divide(q.Value(), divisor.Value()), nil
	default:
		return "", fmt.Errorf("resource %q is not supported", ref.Resource)
	}
}

// divide divides rounding up.
func divide(a, b int64) string {
	return strconv.FormatInt(int64(math.Ceil(float64(a)/float64(b))), 10)
}
