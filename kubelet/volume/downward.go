package volume

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// downward returns the files of a downward API volume by path.
func (v *Volumes) downward(p *v1.Pod, items []v1.DownwardAPIVolumeFile, mode *int32, owner *int64) (map[string]file, error) {
	files := make(map[string]file, len(items))
	for i := range items {
		value, err := v.value(p, &items[i])
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", items[i].Path, err)
		}
		files[items[i].Path] = file{data: []byte(value), mode: fileMode(items[i].Mode, mode), owner: first(items[i].User, owner)}
	}
	return files, nil
}

// value returns what one item tells.
func (v *Volumes) value(p *v1.Pod, item *v1.DownwardAPIVolumeFile) (string, error) {
	switch {
	case item.FieldRef != nil:
		return fieldValue(p, item.FieldRef.FieldPath)
	case item.ResourceFieldRef != nil:
		ref := item.ResourceFieldRef
		c, ok := pod.Find(p, ref.ContainerName)
		if !ok {
			return "", fmt.Errorf("pod has no container %q", ref.ContainerName)
		}
		return resourceValue(c.Container, ref, v.Allocatable())
	default:
		return "", fmt.Errorf("neither fieldRef nor resourceFieldRef is set")
	}
}
