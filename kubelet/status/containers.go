package status

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/plan"
	"boot.internal/kubelet/pod"
)

// containers returns the statuses of the containers of some kinds, in the order
// of the spec.
func (v *view) containers(kinds ...pod.Kind) []v1.ContainerStatus {
	var all []v1.ContainerStatus
	for _, d := range v.declared {
		if slices.Contains(kinds, d.Kind) {
			all = append(all, v.container(d))
		}
	}
	return all
}

// byName sorts as clients expect all but init containers to be sorted.
func byName(all []v1.ContainerStatus) []v1.ContainerStatus {
	slices.SortFunc(all, func(a, b v1.ContainerStatus) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// container returns the status of one container.
func (v *view) container(d pod.Declared) v1.ContainerStatus {
	prev, said := v.prev(d)
	instances := v.instances(d)
	var s v1.ContainerStatus
	if len(instances) == 0 {
		s = v.absent(d, prev, said)
	} else {
		s = v.present(d, instances, prev)
	}
	if lent := v.Have.Devices[d.Name]; d.Kind == pod.Regular && lent != nil { // it has them before it runs
		s.AllocatedResourcesStatus = lent
	}
	v.explainWaiting(&s, d, instances, prev)
	v.keepTerminated(&s, d, prev)
	s.VolumeMounts = mounts(d, instances)
	v.probed(&s, d, instances, prev)
	return s
}

// prev returns what was said of a container before.
func (v *view) prev(d pod.Declared) (v1.ContainerStatus, bool) {
	lists := [][]v1.ContainerStatus{
		v.Prev.ContainerStatuses, v.Prev.InitContainerStatuses, v.Prev.EphemeralContainerStatuses,
	}
	for _, list := range lists {
		for _, s := range list {
			if s.Name == d.Name {
				return *s.DeepCopy(), true
			}
		}
	}
	return v1.ContainerStatus{}, false
}

// instances returns those of a container, newest first, in whatever sandbox. One
// that is made and about to start leaves the word to the one before: a restart is
// counted when it is one, or clients would see the count of the new instance beside
// the times of the old one.
func (v *view) instances(d pod.Declared) []pod.Container {
	var all []pod.Container
	for _, c := range v.Have.Containers {
		if c.Name == d.Name {
			all = append(all, c)
		}
	}
	_, failed := v.Have.Failures[d.Name]
	if len(all) > 1 && all[0].State == pod.Created && all[1].State == pod.Exited && !failed {
		return all[1:]
	}
	return all
}

// present describes the newest of a container's instances.
func (v *view) present(d pod.Declared, instances []pod.Container, prev v1.ContainerStatus) v1.ContainerStatus {
	c := instances[0]
	s := v1.ContainerStatus{
		Name: d.Name, Image: c.Image, ImageID: c.ImageID, ContainerID: v.containerID(c),
		State: v.state(c, prev), User: c.User,
		// The runtime forgets counts when all containers restart (IC-19).
		RestartCount:       max(int32(c.Attempt), prev.RestartCount),
		AllocatedResources: d.Resources.Requests.DeepCopy(),
		Resources:          d.Resources.DeepCopy(),
	}
	if c.State == pod.Running {
		s.Resources = v.applied(d, c)
	}
	switch {
	case len(instances) > 1 && instances[1].State == pod.Exited:
		s.LastTerminationState = v.state(instances[1], v1.ContainerStatus{})
	case prev.ContainerID != s.ContainerID && prev.State.Terminated != nil:
		s.LastTerminationState = prev.State
	case !isOf(prev.LastTerminationState, s.ContainerID): // else it is the state now
		s.LastTerminationState = prev.LastTerminationState
	}
	return s
}

func isOf(s v1.ContainerState, id string) bool {
	return s.Terminated != nil && s.Terminated.ContainerID == id
}

// state describes an instance.
func (v *view) state(c pod.Container, prev v1.ContainerStatus) v1.ContainerState {
	switch {
	case c.State == pod.Running:
		return v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}}
	case c.State == pod.Exited:
		return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
			ExitCode: c.ExitCode, Signal: c.Signal, Reason: c.Reason, Message: c.Message,
			StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt),
			ContainerID: v.containerID(c),
		}}
	case c.State == pod.Unknown && prev.State.Running != nil:
		return lost("it was running when the runtime lost sight of it")
	}
	return v.toStart()
}

func (v *view) containerID(c pod.Container) string { return v.Runtime + "://" + c.ID }

// probed tells whether the container has started and is ready (IC-44).
func (v *view) probed(s *v1.ContainerStatus, d pod.Declared, instances []pod.Container, prev v1.ContainerStatus) {
	if d.Kind == pod.Ephemeral {
		return
	}
	s.Started = new(false)
	if d.Kind == pod.Init {
		s.Ready = s.State.Terminated != nil && s.State.Terminated.ExitCode == 0 && s.State.Terminated.Reason != oomKilled
	}
	if s.State.Running == nil {
		return
	}
	c := instances[0]
	*s.Started = plan.Started(d, v.Have, c) || d.StartupProbe != nil && v.before(c, prev) && isTrue(prev.Started)
	if d.Kind == pod.Init || !*s.Started {
		return
	}
	s.Ready = d.ReadinessProbe == nil || v.Have.Probes[c.ID].Ready || v.stands(c, prev) && prev.Ready
}

// seedAge is how long a container must have run for what was said of it before
// a restart of boot to count (IC-26).
const seedAge = 10 * time.Second

// before reports whether what was said of this very instance before stands for
// what is not known of it yet: no probe has been asked since boot was started
// (IC-26). One inside its startup period was not said to have started (IC-27).
func (v *view) before(c pod.Container, prev v1.ContainerStatus) bool {
	_, asked := v.Have.Probes[c.ID]
	return !asked && v.lasts(c, prev)
}

// stands reports the same of its readiness alone, which is asked last.
func (v *view) stands(c pod.Container, prev v1.ContainerStatus) bool {
	verdict, asked := v.Have.Probes[c.ID]
	return (!asked || verdict.Unasked) && v.lasts(c, prev)
}

// lasts reports whether a status is of this very instance, and that is old
// enough to go by it.
func (v *view) lasts(c pod.Container, prev v1.ContainerStatus) bool {
	return prev.ContainerID == v.containerID(c) && prev.State.Running != nil && v.Now.Sub(c.StartedAt) >= seedAge
}

// mounts describes the volume mounts of a container: as the newest instance has
// them, where it matters how the runtime has made them.
func mounts(d pod.Declared, instances []pod.Container) []v1.VolumeMountStatus {
	var all []v1.VolumeMountStatus
	for _, m := range d.VolumeMounts {
		s := v1.VolumeMountStatus{Name: m.Name, MountPath: m.MountPath, ReadOnly: m.ReadOnly}
		made := mountedAt(m.MountPath, instances)
		if m.ReadOnly {
			mode := v1.RecursiveReadOnlyDisabled
			if made.RecursiveReadOnly || m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == v1.RecursiveReadOnlyEnabled {
				mode = v1.RecursiveReadOnlyEnabled
			}
			s.RecursiveReadOnly = &mode
		}
		if made.Image != "" {
			s.VolumeStatus = &v1.VolumeStatus{Image: &v1.ImageVolumeStatus{ImageRef: made.Image}}
		}
		all = append(all, s)
	}
	return all
}

// mountedAt returns what the newest instance has mounted at a path, if the
// runtime has something to say of it.
func mountedAt(path string, instances []pod.Container) pod.Mount {
	if len(instances) == 0 {
		return pod.Mount{}
	}
	i := slices.IndexFunc(instances[0].Mounts, func(m pod.Mount) bool { return m.Path == path })
	if i < 0 {
		return pod.Mount{}
	}
	return instances[0].Mounts[i]
}

func isTrue(b *bool) bool { return b != nil && *b }
