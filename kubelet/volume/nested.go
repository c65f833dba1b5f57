package volume

import (
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// nested returns the paths below a volume at which containers mount others.
// They must be there, for nobody can make them in a volume that is read-only.
func nested(p *v1.Pod, volume string) []string {
	var paths []string
	for _, c := range pod.Containers(p) {
		for _, outer := range c.VolumeMounts {
			if outer.Name != volume || outer.SubPath != "" || outer.SubPathExpr != "" {
				continue
			}
			for _, inner := range c.VolumeMounts {
				rel, err := filepath.Rel(outer.MountPath, inner.MountPath)
				if err == nil && rel != "." && filepath.IsLocal(rel) && !strings.HasPrefix(rel, "..") {
					paths = append(paths, rel)
				}
			}
		}
	}
	return paths
}
