package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

const hostsPath = "/etc/hosts"

// mounts returns the volumes of c as the runtime mounts them, and after them
// the files the kubelet itself provides.
func mounts(c *v1.Container, env []v1.EnvVar, in ContainerInput) ([]*cri.Mount, error) {
	var all []*cri.Mount
	ownHosts := false
	for i, m := range c.VolumeMounts {
		mount, err := volumeMount(c, i, env, in)
		if err != nil {
			return nil, err
		}
		ownHosts = ownHosts || m.MountPath == hostsPath
		all = append(all, mount)
	}
	if in.Hosts != "" && !ownHosts {
		all = append(all, &cri.Mount{ContainerPath: hostsPath, HostPath: in.Hosts})
	}
	if in.TerminationLog != "" && c.TerminationMessagePath != "" {
		all = append(all, &cri.Mount{ContainerPath: c.TerminationMessagePath, HostPath: in.TerminationLog})
	}
	for _, m := range all { // the owners of files are mapped back to those in the pod
		m.UidMappings, m.GidMappings = idMapping(in.Users), idMapping(in.Users)
	}
	return all, nil
}

// volumeMount returns the i-th volume of c.
func volumeMount(c *v1.Container, i int, env []v1.EnvVar, in ContainerInput) (*cri.Mount, error) {
	m := c.VolumeMounts[i]
	vol, ok := in.Volumes[m.Name]
	if !ok || vol.Device != "" {
		return nil, fmt.Errorf("cannot find volume %q to mount into container %q", m.Name, c.Name)
	}
	recursive, err := recursiveReadOnly(m, in.RecursiveReadOnly)
	if err != nil {
		return nil, fmt.Errorf("failed to resolve recursive read-only mode: %w", err)
	}
	mount := &cri.Mount{
		ContainerPath:     m.MountPath,
		HostPath:          vol.Path,
		Readonly:          m.ReadOnly || vol.ReadOnly,
		Propagation:       propagation(m.MountPropagation),
		RecursiveReadOnly: recursive,
	}
	if !path.IsAbs(m.MountPath) {
		mount.ContainerPath = path.Join("/", m.MountPath)
	}
	sub, err := subPath(m, env)
	switch {
	case err != nil:
		return nil, err
	case vol.Image != "":
		mount.Image = &cri.ImageSpec{Image: vol.Image, UserSpecifiedImage: vol.ImageName}
		mount.ImageSubPath = sub
	case sub != "":
		if mount.HostPath = in.SubPaths[i]; mount.HostPath == "" {
			return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q", m.Name, c.Name)
		}
	}
	return mount, nil
}

// SubPaths returns the parts of volumes that d mounts. Where they are, which
// ContainerInput.SubPaths tells, is to be found out with care: what is in a
// volume is not to be trusted.
func SubPaths(p *v1.Pod, d pod.Declared, n Node, in ContainerInput) ([]pod.SubPath, error) {
	if !slices.ContainsFunc(d.VolumeMounts, func(m v1.VolumeMount) bool { return m.SubPath != "" || m.SubPathExpr != "" }) {
		return nil, nil
	}
	env, err := environment(p, d.Container, n, in)
	if err != nil {
		return nil, err
	}
	var all []pod.SubPath
	for i, m := range d.VolumeMounts {
		sub, err := subPath(m, env)
		if err != nil {
			return nil, err
		}
		if vol := in.Volumes[m.Name]; sub != "" && vol.Path != "" {
			all = append(all, pod.SubPath{Container: d.Name, Index: i, Name: m.Name, Volume: vol, Path: sub})
		}
	}
	return all, nil
}

// subPath returns the path below the volume; it must not lead out of it.
func subPath(m v1.VolumeMount, env []v1.EnvVar) (string, error) {
	sub := m.SubPath
	if m.SubPathExpr != "" {
		var err error
		if sub, err = expandStrictly(m.SubPathExpr, env); err != nil {
			return "", err
		}
	}
	if path.IsAbs(sub) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	for part := range strings.SplitSeq(sub, "/") {
		if part == ".." {
			return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
		}
	}
	return sub, nil
}

// expandStrictly expands a text all of whose variables must be set.
func expandStrictly(s string, env []v1.EnvVar) (string, error) {
	var missing []error
	known := lookupIn(env)
	out := expand(s, func(name string) (string, bool) {
		value, ok := known(name)
		if !ok {
			missing = append(missing, fmt.Errorf("missing value for %q", name))
		}
		return value, ok
	})
	return out, errors.Join(missing...)
}

// recursiveReadOnly reports whether what is mounted below a volume is read-only
// as well.
func recursiveReadOnly(m v1.VolumeMount, possible bool) (bool, error) {
	if m.RecursiveReadOnly == nil || *m.RecursiveReadOnly == v1.RecursiveReadOnlyDisabled {
		return false, nil
	}
	if !m.ReadOnly {
		return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not read-only", m.Name)
	}
	if m.MountPropagation != nil && *m.MountPropagation != v1.MountPropagationNone {
		return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not compatible with propagation %q", m.Name, *m.MountPropagation)
	}
	switch *m.RecursiveReadOnly {
	case v1.RecursiveReadOnlyIfPossible:
		return possible, nil
	case v1.RecursiveReadOnlyEnabled:
		if !possible {
			return false, fmt.Errorf("volume %q requested recursive read-only mode, but it is not supported by the runtime", m.Name)
		}
		return true, nil
	default:
		return false, fmt.Errorf("unknown recursive read-only mode %q", *m.RecursiveReadOnly)
	}
}

// blockDevices returns the volumes that c is given as block devices.
func blockDevices(c *v1.Container, in ContainerInput) ([]*cri.Device, error) {
	var all []*cri.Device
	for _, d := range c.VolumeDevices {
		if !path.IsAbs(d.DevicePath) {
			return nil, fmt.Errorf("error DevicePath `%s` must be an absolute path", d.DevicePath)
		}
		vol, ok := in.Volumes[d.Name]
		if !ok || vol.Device == "" {
			return nil, fmt.Errorf("cannot find volume %q to pass into container %q", d.Name, c.Name)
		}
		permissions := "mrw"
		if vol.ReadOnly {
			permissions = "r"
		}
		all = append(all, &cri.Device{ContainerPath: d.DevicePath, HostPath: vol.Device, Permissions: permissions})
	}
	return all, nil
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
