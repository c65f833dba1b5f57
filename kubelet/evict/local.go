package evict

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	helper "k8s.io/component-helpers/resource"

	"boot.internal/kubelet/pod"
)

// Causes of evictions for limits of the pod's own, as metrics name them.
const (
	emptyDirLimit  = "emptydirfs.limit"
	podLimit       = "ephemeralpodfs.limit"
	containerLimit = "ephemeralcontainerfs.limit"
)

// Limited reports whether a pod has limits of local storage, which nobody but
// Exceeds holds it to.
func Limited(p *v1.Pod) bool {
	if _, ok := storageLimit(p); ok {
		return true
	}
	for i := range p.Spec.Volumes {
		if _, ok := sizeLimit(&p.Spec.Volumes[i]); ok {
			return true
		}
	}
	return false
}

// Exceeds returns the eviction of a pod that uses more local storage than its own
// limits allow; nil if it does not.
func Exceeds(p *v1.Pod, u Usage, l Layout) *Eviction {
	evicted := func(cause, message string) *Eviction {
		return &Eviction{Pod: p, Grace: graceHard, Cause: cause, Message: message}
	}
	for i := range p.Spec.Volumes {
		v := &p.Spec.Volumes[i]
		if size, ok := sizeLimit(v); ok && u.Volumes[v.Name].Bytes > size.Value() {
			return evicted(emptyDirLimit, fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, size.String()))
		}
	}
	if limit, ok := storageLimit(p); ok && u.Storage > limit.Value() {
		return evicted(podLimit, fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", limit.String()))
	}
	for _, c := range pod.Containers(p) {
		limit := c.Resources.Limits.StorageEphemeral()
		if c.Kind == pod.Init || c.Kind == pod.Ephemeral || limit.IsZero() {
			continue
		}
		used := u.Containers[c.Name].Logs.Bytes
		if !l.Images {
			used += u.Containers[c.Name].Layer.Bytes
		}
		if used > limit.Value() {
			return evicted(containerLimit, fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, limit.String()))
		}
	}
	return nil
}

// sizeLimit returns how large an emptyDir may get. In memory the kernel sees to it.
func sizeLimit(v *v1.Volume) (*resource.Quantity, bool) {
	d := v.EmptyDir
	if d == nil || d.Medium == v1.StorageMediumMemory || d.SizeLimit == nil || d.SizeLimit.Sign() <= 0 {
		return nil, false
	}
	return d.SizeLimit, true
}

// storageLimit returns how much local storage a pod may use in all.
func storageLimit(p *v1.Pod) (resource.Quantity, bool) {
	limit, ok := helper.PodLimits(p, helper.PodResourcesOptions{})[v1.ResourceEphemeralStorage]
	return limit, ok
}
