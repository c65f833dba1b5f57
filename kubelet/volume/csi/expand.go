package csi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
)

// Reasons of events about sizes, as upstream spells them.
const (
	eventResized      = "FileSystemResizeSuccessful"
	eventResizeFailed = "VolumeResizeFailed"
)

// Expand has the driver bring a volume that is published to the size of its
// PersistentVolume, if the claim says that it has another, and writes the size
// into the claim.
func (d *Drivers) Expand(ctx context.Context, r Request, pvc *v1.PersistentVolumeClaim, vol pod.Volume) error {
	size, has := r.PV.Spec.Capacity[v1.ResourceStorage], pvc.Status.Capacity[v1.ResourceStorage]
	if size.Cmp(has) <= 0 || r.ReadOnly {
		return nil
	}
	v, err := d.volume(ctx, r)
	if err != nil {
		return err
	}
	done, err := d.turns.Take(ctx, v.key())
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := d.grow(ctx, v, size.Value(), vol); err != nil {
		d.o.Event(r.Pod, v1.EventTypeWarning, eventResizeFailed, fmt.Sprintf("NodeExpandVolume.NodeExpandVolume failed for volume %q : %v", r.PV.Name, err))
		return err
	}
	if err := d.sayGrown(ctx, pvc, r.PV); err != nil {
		return fmt.Errorf("write size of claim: %w", err)
	}
	d.o.Event(r.Pod, v1.EventTypeNormal, eventResized, fmt.Sprintf("MountVolume.NodeExpandVolume succeeded for volume %q %s", r.PV.Name, d.o.Node))
	return nil
}

// grow asks the driver. One that cannot is not asked: then the controller's side
// has done all there is to do.
func (d *Drivers) grow(ctx context.Context, v *volume, bytes int64, vol pod.Volume) error {
	c, err := d.dial(ctx, v.DriverName)
	if err != nil {
		return err
	}
	defer c.close()
	if !c.can[csi.NodeServiceCapability_RPC_EXPAND_VOLUME] {
		return nil
	}
	secrets, err := d.secret(ctx, v.PV.Spec.CSI.NodeExpandSecretRef, "NodeExpandSecretRef")
	if err != nil {
		return err
	}
	req := &csi.NodeExpandVolumeRequest{
		VolumeId: v.VolumeHandle, VolumePath: vol.Path, CapacityRange: &csi.CapacityRange{RequiredBytes: bytes},
		VolumeCapability: c.capability(v), Secrets: secrets,
	}
	if v.block {
		req.VolumePath = d.blockPath(v.SpecVolID, v.Pod.UID)
	}
	if c.stages() {
		req.StagingTargetPath = d.stagedOf(v).path(d)
	}
	if _, err := c.NodeExpandVolume(ctx, req); err != nil {
		return fmt.Errorf("Expander.NodeExpand failed to expand the volume : %w", err)
	}
	return nil
}

// sayGrown writes the new size into the status of the claim, and that nothing
// is left to be done.
func (d *Drivers) sayGrown(ctx context.Context, pvc *v1.PersistentVolumeClaim, pv *v1.PersistentVolume) error {
	api, err := d.api()
	if err != nil {
		return err
	}
	conditions := []v1.PersistentVolumeClaimCondition{}
	for _, c := range pvc.Status.Conditions {
		switch c.Type {
		case v1.PersistentVolumeClaimFileSystemResizePending, v1.PersistentVolumeClaimResizing,
			v1.PersistentVolumeClaimNodeResizeError, v1.PersistentVolumeClaimControllerResizeError:
		default:
			conditions = append(conditions, c)
		}
	}
	status := map[string]any{
		"capacity":   map[string]any{string(v1.ResourceStorage): pv.Spec.Capacity.Storage().String()},
		"conditions": conditions,
	}
	if _, pending := pvc.Status.AllocatedResourceStatuses[v1.ResourceStorage]; pending {
		status["allocatedResourceStatuses"] = map[string]any{string(v1.ResourceStorage): nil}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": pvc.ResourceVersion}, "status": status,
	})
	if err != nil {
		return errors.New("encode status of claim")
	}
	_, err = api.CoreV1().PersistentVolumeClaims(pvc.Namespace).Patch(ctx, pvc.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
