package runtime_test

import (
	"context"
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// pulled has the image "data:1" by the policy Never alone, and lacks "none:1".
type pulled struct{ runtime.Images }

func (i pulled) Ensure(ctx context.Context, p *v1.Pod, c *v1.Container) (*cri.Image, error) {
	switch c.Image {
	case "data:1":
		if c.ImagePullPolicy != v1.PullNever {
			return nil, errors.New("the policy is that of the volume")
		}
		return &cri.Image{Id: "sha256:data"}, nil
	case "none:1":
		return nil, &pod.ActionError{Reason: "ErrImageNeverPull", Err: errors.New("it is not there")}
	default:
		return i.Images.Ensure(ctx, p, c)
	}
}

// A volume that is an image is the runtime's to mount.
func TestImageVolumes(t *testing.T) {
	f, o, _ := newFake(t)
	o.Images = pulled{o.Images}
	r := runtime.New(o)
	p := onePod()
	for name, image := range map[string]string{"data": "data:1", "none": "none:1"} {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: name, VolumeSource: v1.VolumeSource{
			Image: &v1.ImageVolumeSource{Reference: image, PullPolicy: v1.PullNever},
		}})
	}
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/data", SubPath: "a/b"}}
	p.Spec.Containers = append(p.Spec.Containers, v1.Container{
		Name: "b", Image: "i:1", VolumeMounts: []v1.VolumeMount{{Name: "none", MountPath: "/none"}},
	})
	if err := r.Do(t.Context(), p, pod.CreateSandbox{}); err != nil {
		t.Fatal(err)
	}
	have, err := r.Observe(t.Context(), pod.KeyOf(p))
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string) error {
		return r.Do(t.Context(), p, pod.StartContainer{Name: name, Sandbox: have.Sandboxes[0]})
	}
	if err := start("a"); err != nil {
		t.Fatal(err)
	}
	if have, err = r.Observe(t.Context(), pod.KeyOf(p)); err != nil {
		t.Fatal(err)
	}
	c, _ := have.NewestOf(p.UID, "a")
	s, err := f.Runtime().ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: c.ID})
	if err != nil {
		t.Fatal(err)
	}
	m := s.Status.Mounts[0]
	if m.Image.GetImage() != "sha256:data" || m.Image.GetUserSpecifiedImage() != "data:1" || m.ImageSubPath != "a/b" || !m.Readonly || m.HostPath != "" {
		t.Errorf("mounted %v", m)
	}
	if len(c.Mounts) != 1 || c.Mounts[0] != (pod.Mount{Path: "/data", Image: "sha256:data"}) {
		t.Errorf("observed %v", c.Mounts)
	}
	var failed *pod.ActionError
	if err := start("b"); !errors.As(err, &failed) || failed.Reason != "ErrImageNeverPull" {
		t.Errorf("error %v", err)
	}
}
