package runtime

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// imageVolumes adds those volumes of d to all that are the files of an image,
// which is pulled by the policy of the volume (KEP-4639). The runtime mounts
// them itself.
func (r *Runtime) imageVolumes(ctx context.Context, p *v1.Pod, d pod.Declared, all map[string]pod.Volume) (map[string]pod.Volume, error) {
	for _, vol := range p.Spec.Volumes {
		used := slices.ContainsFunc(d.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == vol.Name })
		if vol.Image == nil || !used {
			continue
		}
		image, err := r.o.Images.Ensure(ctx, p, &v1.Container{
			Name: vol.Name, Image: vol.Image.Reference, ImagePullPolicy: vol.Image.PullPolicy,
		})
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = map[string]pod.Volume{}
		}
		all[vol.Name] = pod.Volume{Image: image.GetId(), ImageName: vol.Image.Reference, ReadOnly: true}
	}
	return all, nil
}
