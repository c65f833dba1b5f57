package spec

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// environment returns the variables of c, resolved, in the order in which they
// take effect: the pod's own, then those of services that it does not override.
func environment(p *v1.Pod, c *v1.Container, n Node, in ContainerInput) ([]v1.EnvVar, error) {
	if len(c.EnvFrom) > 0 {
		return nil, fmt.Errorf("container %q takes its environment from API objects, which are not to be had on this node", c.Name)
	}
	var env []v1.EnvVar
	// A variable may use those of services and those before it.
	lookup := func(name string) (string, bool) {
		if v, ok := lookupIn(env)(name); ok {
			return v, true
		}
		return lookupIn(in.Services)(name)
	}
	for _, e := range c.Env {
		v := expand(e.Value, lookup)
		if e.ValueFrom != nil {
			var err error
			if v, err = valueFrom(p, c, n, in, e.ValueFrom); err != nil {
				return nil, fmt.Errorf("resolve environment variable %q: %w", e.Name, err)
			}
		}
		env = append(env, v1.EnvVar{Name: e.Name, Value: v})
	}
	for _, s := range in.Services {
		if !slices.ContainsFunc(env, func(e v1.EnvVar) bool { return e.Name == s.Name }) {
			env = append(env, s)
		}
	}
	return env, nil
}

func valueFrom(p *v1.Pod, c *v1.Container, n Node, in ContainerInput, from *v1.EnvVarSource) (string, error) {
	switch {
	case from.FieldRef != nil:
		return field(p, n, in.PodIPs, from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		return resourceField(p, c, n, from.ResourceFieldRef)
	default:
		return "", fmt.Errorf("its source is an API object or a file, which is not to be had on this node")
	}
}

// field returns a field of the pod by its path in the downward API.
func field(p *v1.Pod, n Node, podIPs []string, fieldPath string) (string, error) {
	if value, ok := pod.MetadataField(p, fieldPath); ok {
		return value, nil
	}
	switch fieldPath {
	case "spec.nodeName":
		return p.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return p.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return n.PrimaryIP(), nil
	case "status.hostIPs":
		return strings.Join(n.IPs, ","), nil
	case "status.podIP":
		return first(podIPs), nil
	case "status.podIPs":
		return strings.Join(podIPs, ","), nil
	}
	return "", fmt.Errorf("field path %q is not supported", fieldPath)
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}
