package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

// status returns the status of the node now. Of the former one it keeps what
// others wrote, and when conditions last changed.
func (k *Keeper) status(old v1.NodeStatus, now time.Time) v1.NodeStatus {
	k.mu.Lock()
	runtime := k.runtime
	k.mu.Unlock()
	facts, err := k.o.Machine.Facts()
	next := *old.DeepCopy()
	next.Addresses = k.addresses(old.Addresses)
	next.DaemonEndpoints.KubeletEndpoint.Port = k.o.Port
	next.VolumesInUse = k.volumesInUse(old.VolumesInUse)
	if err == nil {
		k.setCapacity(&next, facts)
	}
	version := next.NodeInfo.ContainerRuntimeVersion
	next.NodeInfo = facts.Info
	next.NodeInfo.KubeletVersion = k.o.Version
	next.NodeInfo.ContainerRuntimeVersion = version
	if runtime != nil && runtime.Version != "" {
		next.NodeInfo.ContainerRuntimeVersion = runtime.Version
	}
	setFeatures(&next, runtime)
	next.Images = k.signs.listed(next.Images)
	for _, c := range append(k.signs.conditions(), ready(runtime, k.signs.shutdown(), err)) {
		next.Conditions = withCondition(next.Conditions, c, metav1.NewTime(now.Truncate(time.Second)))
	}
	return next
}

// ready says whether the node takes pods, in the words people know.
func ready(r *Runtime, shutdown, machine error) v1.NodeCondition {
	var wrong []error
	switch {
	case r == nil:
		wrong = append(wrong, errors.New("container runtime status check may not have completed yet"))
	case r.Err != nil:
		wrong = append(wrong, fmt.Errorf("container runtime is down: %w", r.Err))
	case r.Network != nil:
		wrong = append(wrong, fmt.Errorf("container runtime network not ready: %w", r.Network))
	}
	if shutdown != nil {
		wrong = append(wrong, shutdown)
	}
	if machine != nil {
		wrong = append(wrong, fmt.Errorf("missing node capacity for resources: %w", machine))
	}
	if len(wrong) > 0 {
		return v1.NodeCondition{
			Type: v1.NodeReady, Status: v1.ConditionFalse, Reason: "KubeletNotReady",
			Message: utilerrors.NewAggregate(wrong).Error(),
		}
	}
	return v1.NodeCondition{
		Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "KubeletReady",
		Message: "kubelet is posting ready status",
	}
}

// withCondition puts c into the list, with the time of its last change.
func withCondition(list []v1.NodeCondition, c v1.NodeCondition, now metav1.Time) []v1.NodeCondition {
	c.LastHeartbeatTime, c.LastTransitionTime = now, now
	i := slices.IndexFunc(list, func(o v1.NodeCondition) bool { return o.Type == c.Type })
	if i < 0 {
		return append(list, c)
	}
	if list[i].Status == c.Status {
		c.LastTransitionTime = list[i].LastTransitionTime
	}
	list[i] = c
	return list
}
