package pod

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// MetadataField returns a field of the pod's metadata by its path in the
// downward API, such as "metadata.name" or "metadata.labels['key']". It knows
// those that environment variables and files share; ok is false for any other.
func MetadataField(p *v1.Pod, path string) (value string, ok bool) {
	if object, key, ok := subscript(path); ok {
		switch object {
		case "metadata.labels":
			return p.Labels[key], true
		case "metadata.annotations":
			return p.Annotations[key], true
		}
	}
	switch path {
	case "metadata.name":
		return p.Name, true
	case "metadata.namespace":
		return p.Namespace, true
	case "metadata.uid":
		return string(p.UID), true
	}
	return "", false
}

// subscript splits "metadata.labels['key']".
func subscript(path string) (object, key string, ok bool) {
	object, rest, found := strings.Cut(path, "['")
	key, closed := strings.CutSuffix(rest, "']")
	return object, key, found && closed
}
