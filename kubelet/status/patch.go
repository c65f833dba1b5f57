package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"boot.internal/kubelet/pod"
)

// merge returns held with what is the kubelet's to say replaced by what s says.
// Conditions of others, and fields of others or of times to come, stay.
func merge(held, s v1.PodStatus) v1.PodStatus {
	m := *held.DeepCopy()
	m.ObservedGeneration = max(held.ObservedGeneration, s.ObservedGeneration)
	m.Phase, m.Reason, m.Message = s.Phase, s.Reason, s.Message
	m.HostIP, m.HostIPs, m.PodIP, m.PodIPs = s.HostIP, s.HostIPs, s.PodIP, s.PodIPs
	m.StartTime = s.StartTime
	m.AllocatedResources, m.Resources = s.AllocatedResources, s.Resources
	m.InitContainerStatuses = s.InitContainerStatuses
	m.ContainerStatuses = s.ContainerStatuses
	m.EphemeralContainerStatuses = s.EphemeralContainerStatuses
	if m.QOSClass == "" { // it never changes
		m.QOSClass = s.QOSClass
	}
	m.Conditions = mergeConditions(held.Conditions, s.Conditions)
	return m
}

// mergeConditions returns the conditions of others as they are held and the
// kubelet's as s has them, in the order they are held in.
func mergeConditions(held, s []v1.PodCondition) []v1.PodCondition {
	var all []v1.PodCondition
	for _, c := range held {
		if is := condition(s, c.Type); !isOurs(c.Type, is) {
			all = append(all, c)
		} else if is != nil {
			all = append(all, *is)
		}
	}
	for _, c := range s {
		if isOurs(c.Type, &c) && condition(all, c.Type) == nil {
			all = append(all, c)
		}
	}
	return all
}

// isOurs reports whether a condition is the kubelet's to say: one of its own, or
// the one that says why a pod is disrupted when the kubelet is who does it.
func isOurs(kind v1.PodConditionType, is *v1.PodCondition) bool {
	return slices.Contains(owned, kind) ||
		kind == v1.DisruptionTarget && is != nil && is.Reason == v1.PodReasonTerminationByKubelet
}

// statusOf is a pod as far as its status goes. Of the type of whole pods, JSON would
// remember how every field is written.
type statusOf struct {
	Metadata metadata     `json:"metadata"`
	Status   v1.PodStatus `json:"status"`
}

type metadata struct {
	UID types.UID `json:"uid,omitempty"`
}

// patchOf returns the patch that makes one status the other, nil if they are the
// same. The UID is in it, so that it fails where the pod is another one by now.
func patchOf(uid types.UID, held, s v1.PodStatus) ([]byte, error) {
	before, err := json.Marshal(statusOf{Status: held})
	if err != nil {
		return nil, fmt.Errorf("write status held: %w", err)
	}
	unchanged, err := json.Marshal(statusOf{Status: s})
	if err != nil {
		return nil, fmt.Errorf("write status: %w", err)
	}
	if string(before) == string(unchanged) {
		return nil, nil
	}
	after, err := json.Marshal(statusOf{Metadata: metadata{UID: uid}, Status: s})
	if err != nil {
		return nil, fmt.Errorf("write status: %w", err)
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, v1.Pod{})
	if err != nil {
		return nil, fmt.Errorf("make patch of status: %w", err)
	}
	return patch, nil
}

// Client returns the API behind a client.
func Client(c typedv1.PodsGetter) API { return client{c} }

type client struct{ pods typedv1.PodsGetter }

func (c client) PatchStatus(ctx context.Context, key pod.Key, patch []byte) (*v1.Pod, error) {
	p, err := c.pods.Pods(key.Namespace).Patch(ctx, key.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return nil, fmt.Errorf("patch status of pod %s: %w", key, err)
	}
	return p, nil
}

func (c client) Delete(ctx context.Context, key pod.Key, uid types.UID) error {
	err := c.pods.Pods(key.Namespace).Delete(ctx, key.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(uid)),
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) { // that is another one
		return fmt.Errorf("delete pod %s: %w", key, err)
	}
	return nil
}
