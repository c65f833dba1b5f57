package plan

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// A resizing is how a container gets to the resources it was allocated.
type resizing int

const (
	unchanged resizing = iota + 1
	inPlace
	byRestart
)

// Resizing reports whether something of a pod that runs has other resources than
// it was allocated (KEP-1287). What does not run is given them when it starts.
func Resizing(p *v1.Pod, have pod.Observed) bool {
	if podResized(p, have) {
		return true
	}
	return slices.ContainsFunc(pod.Containers(p), func(d pod.Declared) bool {
		c, ok := have.NewestOf(p.UID, d.Name)
		return ok && c.State == pod.Running && resizedOf(p, have, d) != unchanged
	})
}

// resize applies what can be applied without a restart.
func (r *run) resize() {
	var shrink, grow []pod.Instance
	for _, d := range r.of(pod.Init, pod.Sidecar, pod.Regular) {
		c, ok := r.have.NewestOf(r.pod.UID, d.Name)
		if !ok || c.State != pod.Running || r.resized(d) != inPlace {
			continue
		}
		now, was := amounts(r.pod, r.have, d)
		if i := (pod.Instance{Name: d.Name, ID: c.ID}); now.MemoryLimit < was.MemoryLimit {
			shrink = append(shrink, i)
		} else {
			grow = append(grow, i)
		}
	}
	if len(shrink)+len(grow) > 0 || podResized(r.pod, r.have) {
		r.do(pod.Resize{Containers: slices.Concat(shrink, grow)})
	}
}

func (r *run) resized(d pod.Declared) resizing { return resizedOf(r.pod, r.have, d) }

// resizedOf compares what a container runs with to what it was allocated.
func resizedOf(p *v1.Pod, have pod.Observed, d pod.Declared) resizing {
	if _, known := have.Applied[d.Name]; !known || d.Kind == pod.Ephemeral {
		return unchanged
	}
	now, was := amounts(p, have, d)
	cpu := now.CPURequest != was.CPURequest || now.CPULimit != was.CPULimit
	memory := now.MemoryRequest != was.MemoryRequest || now.MemoryLimit != was.MemoryLimit
	for _, policy := range d.ResizePolicy {
		changed := policy.ResourceName == v1.ResourceCPU && cpu || policy.ResourceName == v1.ResourceMemory && memory
		if changed && policy.RestartPolicy == v1.RestartContainer {
			return byRestart
		}
	}
	if cpu || memory {
		return inPlace
	}
	return unchanged
}

// podResized reports whether the pod's own resources changed. It may have had none
// before; that is not to know nothing of it.
func podResized(p *v1.Pod, have pod.Observed) bool {
	if have.Applied == nil || p.Spec.Resources == nil {
		return false
	}
	return pod.AmountsOf(*p.Spec.Resources, nil) != pod.AmountsOf(have.Applied[""], nil)
}

// amounts returns what a container was allocated, and what it runs with.
func amounts(p *v1.Pod, have pod.Observed, d pod.Declared) (now, was pod.Amounts) {
	var around *v1.ResourceRequirements
	if r, known := have.Applied[""]; known {
		around = &r
	}
	return pod.AmountsOf(d.Resources, p.Spec.Resources), pod.AmountsOf(have.Applied[d.Name], around)
}
