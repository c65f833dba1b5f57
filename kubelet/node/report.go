package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// startGrace is how long a restarted boot waits to hear from the runtime before
// it says anything about an existing node: it was Ready, and most likely is.
const startGrace = 30 * time.Second

// report writes the status if it changed or if it is time to.
func (k *Keeper) report(ctx context.Context, api corev1.NodeInterface) error {
	n, now := k.Node(), time.Now()
	if n == nil || k.silent() && now.Sub(k.started) < startGrace && len(n.Status.Conditions) > 0 {
		return nil
	}
	next := k.status(n.Status, now)
	patch, err := reportPatch(n, next, now.Sub(k.reported) >= k.o.ReportEvery)
	if patch == nil || err != nil {
		return err
	}
	patched, err := api.Patch(ctx, k.o.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("write status of node: %w", err)
	}
	k.reported = now
	if before, after := readiness(n.Status), readiness(next); before != after {
		k.o.Log.Info("node readiness changed", slog.String("ready", string(after)), slog.String("was", string(before)))
	}
	k.tellChanges(n.Status.Conditions, next.Conditions)
	k.tellReboot(n.Status.NodeInfo.BootID, next.NodeInfo.BootID)
	k.seen(patched)
	return nil
}

// silent reports whether nothing was heard of the runtime yet.
func (k *Keeper) silent() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.runtime == nil
}

func readiness(s v1.NodeStatus) v1.ConditionStatus {
	for _, c := range s.Conditions {
		if c.Type == v1.NodeReady {
			return c.Status
		}
	}
	return ""
}

// reportPatch returns the strategic merge patch that has a node say how it is; nil
// if it does. What machine it is it says by labels, which others may have changed.
func reportPatch(n *v1.Node, next v1.NodeStatus, due bool) ([]byte, error) {
	patch := map[string]any{}
	if status := changes(n.Status, next, due); len(status) > 0 {
		patch["status"] = status
	}
	if labels := machineLabels(); !hasAll(n.Labels, labels) {
		patch["metadata"] = map[string]any{"labels": labels}
	}
	if len(patch) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encode status of node: %w", err)
	}
	return text, nil
}

func hasAll(have, want map[string]string) bool {
	for key, value := range want {
		if have[key] != value {
			return false
		}
	}
	return true
}

// changes returns the parts of a status that differ from those of the old one, so
// that what others write into it stays. Conditions whose time of heartbeat alone
// is new are among them if that is due.
func changes(old, next v1.NodeStatus, due bool) map[string]any {
	status := map[string]any{}
	if !equality.Semantic.DeepEqual(old.Capacity, next.Capacity) {
		status["capacity"] = next.Capacity
	}
	if !equality.Semantic.DeepEqual(old.Allocatable, next.Allocatable) {
		status["allocatable"] = next.Allocatable
	}
	if !equality.Semantic.DeepEqual(old.Images, next.Images) {
		status["images"] = next.Images
	}
	if !equality.Semantic.DeepEqual(old.NodeInfo, next.NodeInfo) {
		status["nodeInfo"] = next.NodeInfo
	}
	if !equality.Semantic.DeepEqual(old.RuntimeHandlers, next.RuntimeHandlers) {
		status["runtimeHandlers"] = next.RuntimeHandlers
	}
	if !equality.Semantic.DeepEqual(old.Features, next.Features) {
		status["features"] = next.Features
	}
	if old.DaemonEndpoints != next.DaemonEndpoints {
		status["daemonEndpoints"] = next.DaemonEndpoints
	}
	if !equality.Semantic.DeepEqual(old.Addresses, next.Addresses) {
		status["addresses"] = replacing(next.Addresses)
	}
	if !slices.Equal(old.VolumesInUse, next.VolumesInUse) {
		status["volumesInUse"] = append([]v1.UniqueVolumeName{}, next.VolumesInUse...)
	}
	if !slices.Equal(old.DeclaredFeatures, next.DeclaredFeatures) {
		status["declaredFeatures"] = next.DeclaredFeatures
	}
	if due || !sameConditions(old.Conditions, next.Conditions) {
		status["conditions"] = next.Conditions
	}
	return status
}

// replacing makes a list that is written whole: addresses are merged by their
// type otherwise, and a node may have two of a type.
func replacing(addresses []v1.NodeAddress) []any {
	list := []any{map[string]string{"$patch": "replace"}}
	for _, a := range addresses {
		list = append(list, a)
	}
	return list
}

// sameConditions compares conditions without their heartbeats.
func sameConditions(old, next []v1.NodeCondition) bool {
	for _, c := range next {
		o := condition(old, c.Type)
		if o == nil || o.Status != c.Status || o.Reason != c.Reason || o.Message != c.Message {
			return false
		}
	}
	return true
}

func condition(list []v1.NodeCondition, kind v1.NodeConditionType) *v1.NodeCondition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}
