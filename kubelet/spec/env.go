package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// An EnvFile is a file in a volume that variables are taken from (KEP-3721).
type EnvFile struct{ Volume, Path string }

// variables are those of a container, each once, in the order in which they were
// set first.
type variables struct {
	list []v1.EnvVar
	at   map[string]int // where each is in the list
}

func (all *variables) set(name, value string) {
	if i, ok := all.at[name]; ok {
		all.list[i].Value = value
		return
	}
	if all.at == nil {
		all.at = map[string]int{}
	}
	all.at[name] = len(all.list)
	all.list = append(all.list, v1.EnvVar{Name: name, Value: value})
}

func (all *variables) lookup(name string) (string, bool) {
	if i, ok := all.at[name]; ok {
		return all.list[i].Value, true
	}
	return "", false
}

// environment returns the variables of c, resolved. Those it takes from whole
// objects come first, its own are set over them, and those of services that
// neither hides come last.
func environment(p *v1.Pod, c *v1.Container, n Node, in ContainerInput) ([]v1.EnvVar, error) {
	var env variables
	for _, from := range c.EnvFrom {
		env.addFrom(from, in)
	}
	services := lookupIn(in.Services)
	// A variable may use those of services and those before it.
	lookup := func(name string) (string, bool) {
		if v, ok := env.lookup(name); ok {
			return v, true
		}
		return services(name)
	}
	for _, e := range c.Env {
		value, set := expand(e.Value, lookup), true
		if e.Value == "" && e.ValueFrom != nil {
			var err error
			if value, set, err = valueFrom(p, c, n, in, e.ValueFrom); err != nil {
				return nil, err
			}
		}
		if set {
			env.set(e.Name, value)
		}
	}
	for _, s := range in.Services {
		if _, hidden := env.lookup(s.Name); !hidden {
			env.set(s.Name, s.Value)
		}
	}
	return env.list, nil
}

// addFrom adds all keys of an object, with a prefix. Since v1.37 any key will
// do that has no "=" in it, which the API sees to.
func (all *variables) addFrom(from v1.EnvFromSource, in ContainerInput) {
	switch {
	case from.ConfigMapRef != nil:
		if m := in.ConfigMaps[from.ConfigMapRef.Name]; m != nil {
			for _, key := range slices.Sorted(maps.Keys(m.Data)) {
				all.set(from.Prefix+key, m.Data[key])
			}
		}
	case from.SecretRef != nil:
		if s := in.Secrets[from.SecretRef.Name]; s != nil {
			for _, key := range slices.Sorted(maps.Keys(s.Data)) {
				all.set(from.Prefix+key, string(s.Data[key]))
			}
		}
	}
}

// valueFrom returns the value of a variable from its source; set is false where
// the source may be missing and is. Errors are in the words of upstream, which
// people search for.
func valueFrom(p *v1.Pod, c *v1.Container, n Node, in ContainerInput, from *v1.EnvVarSource) (value string, set bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = field(p, n, in.PodIPs, from.FieldRef.FieldPath)
		return value, true, err
	case from.ResourceFieldRef != nil:
		value, err = resourceField(p, c, n, from.ResourceFieldRef)
		return value, true, err
	case from.ConfigMapKeyRef != nil:
		return configMapKey(p, in, from.ConfigMapKeyRef)
	case from.SecretKeyRef != nil:
		return secretKey(p, in, from.SecretKeyRef)
	case from.FileKeyRef != nil:
		return fileKey(in, from.FileKeyRef)
	}
	return "", true, nil
}

func configMapKey(p *v1.Pod, in ContainerInput, ref *v1.ConfigMapKeySelector) (value string, set bool, err error) {
	m := in.ConfigMaps[ref.Name]
	if m == nil {
		return "", false, nil
	}
	value, set = m.Data[ref.Key]
	if !set && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", ref.Key, p.Namespace, ref.Name)
	}
	return value, set, nil
}

func secretKey(p *v1.Pod, in ContainerInput, ref *v1.SecretKeySelector) (value string, set bool, err error) {
	s := in.Secrets[ref.Name]
	if s == nil {
		return "", false, nil
	}
	data, set := s.Data[ref.Key]
	if !set && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %s in Secret %s/%s", ref.Key, p.Namespace, ref.Name)
	}
	return string(data), set, nil
}

// fileKey takes a key from a file. As upstream it takes an empty value for a key
// that is not there.
func fileKey(in ContainerInput, ref *v1.FileKeySelector) (value string, set bool, err error) {
	if data, ok := in.EnvFiles[EnvFile{ref.VolumeName, ref.Path}]; ok {
		if value, err = envFileValue(data, ref.Key); err != nil {
			return "", false, fmt.Errorf("couldn't parse env file: %w", err)
		}
	}
	if value == "" && !isTrue(ref.Optional) {
		return "", false, fmt.Errorf("environment variable key %q not found in file %q", ref.Key, ref.Path)
	}
	return value, value != "", nil
}

// field returns a field of the pod by its path in the downward API.
func field(p *v1.Pod, n Node, podIPs []string, fieldPath string) (string, error) {
	if value, ok := pod.MetadataField(p, fieldPath); ok {
		return value, nil
	}
	switch fieldPath {
	case "spec.nodeName", "spec.host":
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
	return "", fmt.Errorf("unsupported fieldPath: %s", fieldPath)
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}
