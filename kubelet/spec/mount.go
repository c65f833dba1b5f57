package spec

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const hostsPath = "/etc/hosts"

// mounts returns the volumes of c as the runtime mounts them, and after them
// the files the kubelet itself provides.
func mounts(c *v1.Container, env []v1.EnvVar, in ContainerInput) ([]*cri.Mount, error) {
	if len(c.VolumeDevices) > 0 {
		return nil, fmt.Errorf("container %q asks for block devices, which are not supported", c.Name)
	}
	var all []*cri.Mount
	ownHosts := false
	for _, m := range c.VolumeMounts {
		mount, err := volumeMount(m, env, in.Volumes)
		if err != nil {
			return nil, fmt.Errorf("mount volume %q at %s: %w", m.Name, m.MountPath, err)
		}
		ownHosts = ownHosts || mount.ContainerPath == hostsPath
		all = append(all, mount)
	}
	if in.Hosts != "" && !ownHosts {
		all = append(all, &cri.Mount{ContainerPath: hostsPath, HostPath: in.Hosts})
	}
	if in.TerminationLog != "" && c.TerminationMessagePath != "" {
		all = append(all, &cri.Mount{ContainerPath: c.TerminationMessagePath, HostPath: in.TerminationLog})
	}
	return all, nil
}

func volumeMount(m v1.VolumeMount, env []v1.EnvVar, volumes map[string]string) (*cri.Mount, error) {
	host, ok := volumes[m.Name]
	if !ok {
		return nil, fmt.Errorf("the volume is not there")
	}
	sub, err := subPath(m, env)
	if err != nil {
		return nil, err
	}
	target := m.MountPath
	if !path.IsAbs(target) {
		target = path.Join("/", target)
	}
	return &cri.Mount{
		ContainerPath:     target,
		HostPath:          filepath.Join(host, sub),
		Readonly:          m.ReadOnly,
		Propagation:       propagation(m.MountPropagation),
		RecursiveReadOnly: m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled,
	}, nil
}

// subPath returns the path below the volume; it must not lead out of it.
func subPath(m v1.VolumeMount, env []v1.EnvVar) (string, error) {
	sub := m.SubPath
	if m.SubPathExpr != "" {
		sub = expand(m.SubPathExpr, lookupIn(env))
		if strings.Contains(sub, "$(") {
			return "", fmt.Errorf("subPathExpr %q names a variable that is not set", m.SubPathExpr)
		}
	}
	if path.IsAbs(sub) {
		return "", fmt.Errorf("subPath %q must not be an absolute path", sub)
	}
	for part := range strings.SplitSeq(sub, "/") {
		if part == ".." {
			return "", fmt.Errorf("subPath %q must not contain %q", sub, "..")
		}
	}
	return sub, nil
}

func propagation(m *v1.MountPropagationMode) cri.MountPropagation {
	if m == nil {
		return cri.MountPropagation_PROPAGATION_PRIVATE
	}
	switch *m {
	case v1.MountPropagationHostToContainer:
		return cri.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case v1.MountPropagationBidirectional:
		return cri.MountPropagation_PROPAGATION_BIDIRECTIONAL
	default:
		return cri.MountPropagation_PROPAGATION_PRIVATE
	}
}
