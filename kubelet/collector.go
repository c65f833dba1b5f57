package kubelet

import (
	"context"
	"fmt"
	"slices"

	"github.com/distribution/reference"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/image"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// newCollector makes what removes images that nobody uses, and lists the others.
func (k *kubelet) newCollector() {
	c := k.o.Config
	k.collector = image.NewCollector(image.CollectorOptions{
		CRI: k.conn.Images, Used: k.usedImages,
		High: ptr.Deref(c.ImageGCHighThresholdPercent, 85), Low: ptr.Deref(c.ImageGCLowThresholdPercent, 80),
		MinAge: c.ImageMinimumGCAge.Duration, MaxAge: c.ImageMaximumGCAge.Duration,
		Listed: k.listImages, Left: k.images.Prune, Event: k.events.ofNode,
		Collected: func(reason string) { k.metrics.collected.WithLabelValues(reason).Inc() },
		Round:     k.tracer.CollectImages, Log: k.o.Logger,
	})
}

// namesOfImage is how many names of an image the Node lists.
const namesOfImage = 5

// listImages puts images on the Node, the largest first, as many as it may have.
func (k *kubelet) listImages(images []*cri.Image) {
	if most := ptr.Deref(k.o.Config.NodeStatusMaxImages, 50); most >= 0 && int(most) < len(images) {
		images = images[:most]
	}
	list := make([]v1.ContainerImage, 0, len(images))
	for _, i := range images {
		names := slices.Concat(i.RepoDigests, i.RepoTags)
		list = append(list, v1.ContainerImage{Names: names[:min(len(names), namesOfImage)], SizeBytes: int64(i.Size)})
	}
	k.node.SetImages(list)
}

// usedImages returns the IDs and names of the images of all containers, of those
// that are to come, and of sandboxes.
func (k *kubelet) usedImages(ctx context.Context) (map[string]bool, error) {
	list, err := k.conn.Runtime.ListContainers(ctx, &cri.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	used := map[string]bool{fullName(k.o.SandboxImage): true}
	for _, c := range list.Containers {
		used[c.ImageRef], used[c.ImageId], used[c.GetImage().GetImage()] = true, true, true
	}
	for _, p := range k.desired() {
		if hasEnded(p) {
			continue
		}
		for _, c := range pod.Containers(p) {
			used[fullName(c.Image)] = true
		}
		for i := range p.Spec.Volumes {
			if v := p.Spec.Volumes[i].Image; v != nil {
				used[fullName(v.Reference)] = true
			}
		}
	}
	delete(used, "")
	return used, nil
}

// fullName returns the name of an image as the runtime lists it.
func fullName(image string) string {
	name, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image // it may be an ID
	}
	return reference.TagNameOnly(name).String()
}

// noted has the collector know of every image that a container is made of.
func (k *kubelet) noted(i runtime.Images) runtime.Images {
	return notedImages{i, func(id string) { k.collector.Note(id) }}
}

// notedImages tells the collector of every image that a container is made of.
type notedImages struct {
	runtime.Images
	note func(id string)
}

// Ensure makes sure that an image is on the node.
func (n notedImages) Ensure(ctx context.Context, p *v1.Pod, c *v1.Container) (*cri.Image, error) {
	i, err := n.Images.Ensure(ctx, p, c)
	if err == nil {
		n.note(i.Id)
	}
	return i, err
}
