package volume

import (
	"fmt"
	"maps"
	"os"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A file is one file of a volume that boot writes.
type file struct {
	data []byte
	mode os.FileMode
}

// downward returns the files of a downward API volume by path.
func (v *Volumes) downward(p *v1.Pod, items []v1.DownwardAPIVolumeFile, mode *int32) (map[string]file, error) {
	files := make(map[string]file, len(items))
	for i := range items {
		value, err := v.value(p, &items[i])
		if err != nil {
			return nil, fmt.Errorf("file %s: %w", items[i].Path, err)
		}
		files[items[i].Path] = file{data: []byte(value), mode: fileMode(items[i].Mode, mode)}
	}
	return files, nil
}

// projected returns the files of all sources of a projected volume; where two
// write the same path the later one wins.
func (v *Volumes) projected(p *v1.Pod, src *v1.ProjectedVolumeSource) (map[string]file, error) {
	all := make(map[string]file)
	for _, s := range src.Sources {
		if s.DownwardAPI == nil {
			return nil, fmt.Errorf("projected sources of kind %s are not supported", onlyField(s))
		}
		files, err := v.downward(p, s.DownwardAPI.Items, src.DefaultMode)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, files)
	}
	return all, nil
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

// fileMode returns the mode of a file: its own, else that of its volume.
func fileMode(own, volume *int32) os.FileMode {
	for _, m := range []*int32{own, volume} {
		if m != nil {
			return os.FileMode(*m) & os.ModePerm
		}
	}
	return os.FileMode(v1.DownwardAPIVolumeSourceDefaultMode)
}
