package volume

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"

	"boot.internal/kubelet/pod"
)

// emptyDir makes a directory on the disk of the node or in its memory. The size
// of one on disk is not limited here: going over it is a reason for eviction.
func (v *Volumes) emptyDir(p *v1.Pod, name string, src *v1.EmptyDirVolumeSource) (string, error) {
	dir, group := v.path(p.UID, "empty-dir", name), fsGroup(p)
	switch src.Medium {
	case v1.StorageMediumDefault:
		return dir, makeDir(dir, group)
	case v1.StorageMediumMemory:
		if err := makeDir(dir, group); err != nil {
			return "", err
		}
		return dir, mountMemory(dir, group, v.memorySize(p, src))
	}
	if !strings.HasPrefix(string(src.Medium), string(v1.StorageMediumHugePages)) {
		return "", fmt.Errorf("unknown storage medium %q", src.Medium)
	}
	size, err := pageSize(p, src.Medium)
	if err == nil {
		err = makeDir(dir, group)
	}
	if err != nil {
		return "", err
	}
	return dir, mountHugePages(dir, group, size)
}

// memorySize returns how large a volume in memory may grow: what the user
// allows, and never more than the pod may use or the node has. 0 is unknown.
func (v *Volumes) memorySize(p *v1.Pod, src *v1.EmptyDirVolumeSource) int64 {
	node := v.Allocatable()
	sizes := []int64{node.Memory().Value()}
	if memoryLimited(p) {
		limits := resource.PodLimits(p, resource.PodResourcesOptions{})
		sizes = append(sizes, limits.Memory().Value())
	}
	if src.SizeLimit != nil {
		sizes = append(sizes, src.SizeLimit.Value())
	}
	least := int64(0)
	for _, s := range sizes {
		if s > 0 && (least == 0 || s < least) {
			least = s
		}
	}
	return least
}

// memoryLimited reports whether every container of p has a memory limit, or the
// pod has one itself. Otherwise their sum says nothing about the pod.
func memoryLimited(p *v1.Pod) bool {
	if r := p.Spec.Resources; r != nil && !r.Limits.Memory().IsZero() {
		return true
	}
	for _, c := range pod.Containers(p) {
		if c.Kind != pod.Ephemeral && c.Resources.Limits.Memory().IsZero() {
			return false
		}
	}
	return true
}

// mountMemory mounts a tmpfs at dir unless one is there. Owner, mode and size
// come with the mount, so it is never seen without them.
func mountMemory(dir string, group *int64, size int64) error {
	there, err := mountinfo.Mounted(dir)
	if err != nil || there {
		return err
	}
	opts := []string{"mode=0777"}
	if group != nil {
		opts = []string{"mode=2777", fmt.Sprintf("gid=%d", *group)}
	}
	if size > 0 {
		opts = append(opts, fmt.Sprintf("size=%d", size))
	}
	// What is in memory is not to end on a swap device. Kernels before 6.4
	// cannot promise that, and say EINVAL.
	err = unix.Mount("tmpfs", dir, "tmpfs", 0, strings.Join(append(opts, "noswap"), ","))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, strings.Join(opts, ","))
	}
	if err != nil {
		return fmt.Errorf("mount tmpfs at %s: %w", dir, err)
	}
	return nil
}
