package runtime

import (
	"encoding/json"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// listedSandbox returns what a list tells of a sandbox.
func listedSandbox(s *cri.PodSandbox) pod.Sandbox {
	return pod.Sandbox{
		ID:           s.Id,
		UID:          types.UID(s.Labels[pod.LabelPodUID]),
		Attempt:      s.GetMetadata().GetAttempt(),
		Ready:        s.State == cri.PodSandboxState_SANDBOX_READY,
		CreatedAt:    at(s.CreatedAt),
		Source:       s.Annotations[pod.ConfigSource],
		Hash:         s.Annotations[pod.ConfigHash],
		RuntimeClass: s.RuntimeHandler,
	}
}

// restored returns what runtime and annotations tell of a container.
func restored(item *cri.Container, s *cri.ContainerStatus) pod.Container {
	notes := s.Annotations
	c := pod.Container{
		ID:        s.Id,
		Name:      s.GetMetadata().GetName(),
		PodUID:    types.UID(s.Labels[pod.LabelPodUID]),
		SandboxID: item.PodSandboxId,
		Kind:      pod.Kind(notes[pod.AnnotationKind]),
		Index:     number(notes[pod.AnnotationIndex]),
		Hash:      notes[pod.AnnotationHash],

		State:      stateOf(s.State),
		Attempt:    s.GetMetadata().GetAttempt(),
		CreatedAt:  at(s.CreatedAt),
		StartedAt:  at(s.StartedAt),
		FinishedAt: at(s.FinishedAt),
		ExitCode:   s.ExitCode,
		Reason:     s.Reason,

		Image:    imageName(item, s),
		ImageID:  s.ImageRef,
		ImageRef: s.ImageId,

		Grace:   grace(notes),
		PreStop: preStop(notes),

		Mounts:    mountsOf(s.Mounts),
		LogPath:   s.LogPath,
		User:      userOf(s.User),
		Resources: resourcesOf(s.GetResources().GetLinux()),
	}
	if c.Kind == "" { // made by another agent
		c.Kind = pod.Regular
	}
	if d, err := time.ParseDuration(notes[pod.AnnotationBackoff]); err == nil {
		c.Backoff = d
	}
	if c.State == pod.Exited {
		c.Message = terminationMessage(s)
	}
	return c
}

// imageName returns the image as the user wrote it. Only the list has that: the
// status has the name the runtime likes best.
func imageName(item *cri.Container, s *cri.ContainerStatus) string {
	if name := item.GetImage().GetUserSpecifiedImage(); name != "" {
		return name
	}
	return s.GetImage().GetImage()
}

func stateOf(s cri.ContainerState) pod.State {
	switch s {
	case cri.ContainerState_CONTAINER_CREATED:
		return pod.Created
	case cri.ContainerState_CONTAINER_RUNNING:
		return pod.Running
	case cri.ContainerState_CONTAINER_EXITED:
		return pod.Exited
	default:
		return pod.Unknown
	}
}

// at returns the time of a runtime's nanoseconds, of which 0 is no time.
func at(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

func number(s string) int {
	n, _ := strconv.Atoi(s) // 0 for what another agent made
	return n
}

func grace(notes map[string]string) time.Duration {
	s, err := strconv.ParseInt(notes[pod.AnnotationGrace], 10, 64)
	if err != nil {
		s = v1.DefaultTerminationGracePeriodSeconds
	}
	return time.Duration(s) * time.Second
}

// preStop returns the hook that was written when the container was made.
func preStop(notes map[string]string) *v1.LifecycleHandler {
	text, ok := notes[pod.AnnotationPreStop]
	if !ok {
		return nil
	}
	var h v1.LifecycleHandler
	if json.Unmarshal([]byte(text), &h) != nil {
		return nil
	}
	return &h
}

// ports returns the ports that were written when the container was made.
func ports(notes map[string]string) []v1.ContainerPort {
	var all []v1.ContainerPort
	if json.Unmarshal([]byte(notes[pod.AnnotationPorts]), &all) != nil {
		return nil
	}
	return all
}

func userOf(u *cri.ContainerUser) *v1.ContainerUser {
	l := u.GetLinux()
	if l == nil {
		return nil
	}
	return &v1.ContainerUser{Linux: &v1.LinuxContainerUser{
		UID: l.Uid, GID: l.Gid, SupplementalGroups: l.SupplementalGroups,
	}}
}

// resourcesOf turns the terms of the kernel back into those of a pod. What is
// not limited is left out.
func resourcesOf(l *cri.LinuxContainerResources) *v1.ResourceRequirements {
	if l == nil {
		return nil
	}
	out := &v1.ResourceRequirements{Requests: v1.ResourceList{}, Limits: v1.ResourceList{}}
	if l.CpuShares > 0 {
		milli := (l.CpuShares*1000 + 1023) / 1024 // shares were rounded down
		out.Requests[v1.ResourceCPU] = *resource.NewMilliQuantity(milli, resource.DecimalSI)
	}
	if l.CpuQuota > 0 && l.CpuPeriod > 0 {
		out.Limits[v1.ResourceCPU] = *resource.NewMilliQuantity(l.CpuQuota*1000/l.CpuPeriod, resource.DecimalSI)
	}
	if l.MemoryLimitInBytes > 0 {
		out.Limits[v1.ResourceMemory] = *resource.NewQuantity(l.MemoryLimitInBytes, resource.BinarySI)
	}
	return out
}

// mountsOf returns the mounts of which the pod does not say it all.
func mountsOf(all []*cri.Mount) []pod.Mount {
	var out []pod.Mount
	for _, m := range all {
		if m.RecursiveReadOnly || m.Image.GetImage() != "" {
			out = append(out, pod.Mount{Path: m.ContainerPath, RecursiveReadOnly: m.RecursiveReadOnly, Image: m.Image.GetImage()})
		}
	}
	return out
}
