package csi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// recovers reports whether who resizes the claim writes into it how far that
// has come, so that its owner may ask for less if it does not work out.
func recovers(pvc *v1.PersistentVolumeClaim) bool {
	return pvc.Status.AllocatedResources != nil || pvc.Status.AllocatedResourceStatuses[v1.ResourceStorage] != ""
}

// nodesTurn reports whether the node is to do its part, as the claim says.
func nodesTurn(pvc *v1.PersistentVolumeClaim) bool {
	switch pvc.Status.AllocatedResourceStatuses[v1.ResourceStorage] {
	case v1.PersistentVolumeClaimNodeResizePending, v1.PersistentVolumeClaimNodeResizeInProgress:
		return true
	default:
		return false
	}
}

// hasCondition reports whether the claim has a condition.
func hasCondition(pvc *v1.PersistentVolumeClaim, kind v1.PersistentVolumeClaimConditionType) bool {
	return slices.ContainsFunc(pvc.Status.Conditions, func(c v1.PersistentVolumeClaimCondition) bool {
		return c.Type == kind && c.Status == v1.ConditionTrue
	})
}

// sayGrowing writes into the claim that the driver is being asked, and returns
// the claim as it is then.
func (d *Drivers) sayGrowing(ctx context.Context, pvc *v1.PersistentVolumeClaim) (*v1.PersistentVolumeClaim, error) {
	if !recovers(pvc) || pvc.Status.AllocatedResourceStatuses[v1.ResourceStorage] == v1.PersistentVolumeClaimNodeResizeInProgress {
		return pvc, nil
	}
	return d.changeClaim(ctx, pvc, stageOfResize(v1.PersistentVolumeClaimNodeResizeInProgress))
}

// sayNotGrown writes into the claim that the driver has failed. That it will not
// succeed either is for the controller to know, which then takes the size that
// the owner asks for by now: so it is where the driver says it, and where it
// failed before and the owner has asked for another size since.
func (d *Drivers) sayNotGrown(ctx context.Context, pvc *v1.PersistentVolumeClaim, size resource.Quantity, failure error) error {
	if !recovers(pvc) {
		return nil
	}
	change := map[string]any{}
	asked := pvc.Spec.Resources.Requests[v1.ResourceStorage]
	givenUp := asked.Cmp(size) != 0 && hasCondition(pvc, v1.PersistentVolumeClaimNodeResizeError)
	if givenUp || infeasible(failure) {
		change = stageOfResize(v1.PersistentVolumeClaimNodeResizeInfeasible)
	}
	conditions := slices.DeleteFunc(slices.Clone(pvc.Status.Conditions), func(c v1.PersistentVolumeClaimCondition) bool {
		return c.Type == v1.PersistentVolumeClaimNodeResizeError
	})
	change["conditions"] = append(conditions, v1.PersistentVolumeClaimCondition{
		Type: v1.PersistentVolumeClaimNodeResizeError, Status: v1.ConditionTrue,
		LastTransitionTime: metav1.Now(), Message: fmt.Sprintf("failed to expand pvc with %v", failure),
	})
	if _, err := d.changeClaim(ctx, pvc, change); err != nil {
		return fmt.Errorf("write into claim that its volume was not expanded: %w", err)
	}
	return nil
}

// infeasible reports whether the driver will fail again. Source: the errors of
// NodeExpandVolume in the CSI spec.
func infeasible(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange, codes.NotFound:
		return true
	default:
		return false
	}
}

// sayGrown writes the new size into the claim, and that nothing is left to be
// done.
func (d *Drivers) sayGrown(ctx context.Context, pvc *v1.PersistentVolumeClaim, size resource.Quantity) error {
	conditions := []v1.PersistentVolumeClaimCondition{}
	for _, c := range pvc.Status.Conditions {
		switch c.Type {
		case v1.PersistentVolumeClaimFileSystemResizePending, v1.PersistentVolumeClaimResizing,
			v1.PersistentVolumeClaimNodeResizeError, v1.PersistentVolumeClaimControllerResizeError:
		default:
			conditions = append(conditions, c)
		}
	}
	change := map[string]any{}
	if recovers(pvc) {
		change = stageOfResize("")
	}
	change["capacity"] = map[string]any{string(v1.ResourceStorage): size.String()}
	change["conditions"] = conditions
	_, err := d.changeClaim(ctx, pvc, change)
	return err
}

// stageOfResize is a change of how far the resizing has come, "" for all the way.
func stageOfResize(s v1.ClaimResourceStatus) map[string]any {
	if s == "" {
		return map[string]any{"allocatedResourceStatuses": map[string]any{string(v1.ResourceStorage): nil}}
	}
	return map[string]any{"allocatedResourceStatuses": map[string]any{string(v1.ResourceStorage): s}}
}

// changeClaim changes the status of a claim unless another has changed it.
func (d *Drivers) changeClaim(ctx context.Context, pvc *v1.PersistentVolumeClaim, change map[string]any) (*v1.PersistentVolumeClaim, error) {
	api, err := d.api()
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": pvc.ResourceVersion}, "status": change,
	})
	if err != nil {
		return nil, fmt.Errorf("encode status of claim: %w", err)
	}
	return api.CoreV1().PersistentVolumeClaims(pvc.Namespace).Patch(ctx, pvc.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
}
