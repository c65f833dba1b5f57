package device

import (
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// Equip adds to a container about to be made what its devices need: variables,
// mounts, device files, annotations and CDI devices. Where two resources say
// different things, the first by name counts, and what the pod says itself counts
// before both.
func (l *Lender) Equip(ctx context.Context, p *v1.Pod, container string, c *cri.ContainerConfig) error {
	all, err := l.use(ctx, p, container)
	if err != nil {
		return err
	}
	for _, r := range all {
		addVariables(c, r.Envs)
		addMounts(c, r.Mounts)
		addFiles(c, r.Devices)
		for _, d := range r.CdiDevices {
			if !slices.ContainsFunc(c.CDIDevices, func(is *cri.CDIDevice) bool { return is.Name == d.Name }) {
				c.CDIDevices = append(c.CDIDevices, &cri.CDIDevice{Name: d.Name})
			}
		}
		for key, value := range r.Annotations {
			if _, taken := c.Annotations[key]; !taken {
				if c.Annotations == nil {
					c.Annotations = map[string]string{}
				}
				c.Annotations[key] = value
			}
		}
	}
	return nil
}

func addVariables(c *cri.ContainerConfig, envs map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(envs)) {
		if !slices.ContainsFunc(c.Envs, func(is *cri.KeyValue) bool { return is.Key == name }) {
			c.Envs = append(c.Envs, &cri.KeyValue{Key: name, Value: []byte(envs[name])})
		}
	}
}

func addMounts(c *cri.ContainerConfig, mounts []*api.Mount) {
	for _, m := range mounts {
		if !slices.ContainsFunc(c.Mounts, func(is *cri.Mount) bool { return is.ContainerPath == m.ContainerPath }) {
			c.Mounts = append(c.Mounts, &cri.Mount{ContainerPath: m.ContainerPath, HostPath: m.HostPath, Readonly: m.ReadOnly})
		}
	}
}

func addFiles(c *cri.ContainerConfig, files []*api.DeviceSpec) {
	for _, f := range files {
		if !slices.ContainsFunc(c.Devices, func(is *cri.Device) bool { return is.ContainerPath == f.ContainerPath }) {
			c.Devices = append(c.Devices, &cri.Device{ContainerPath: f.ContainerPath, HostPath: f.HostPath, Permissions: f.Permissions})
		}
	}
}
