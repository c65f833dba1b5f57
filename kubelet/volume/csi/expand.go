package csi

import (
	"context"
	"errors"
	"fmt"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
)

// Reasons of events about sizes, as upstream spells them.
const (
	eventResized      = "FileSystemResizeSuccessful"
	eventResizeFailed = "VolumeResizeFailed"
)

// Expand has the driver bring a volume that is published to the size of its
// PersistentVolume, if the claim says that it has another, and writes the size
// into the claim. Whoever expanded the volume before the node has its turn may
// have left word in the claim (KEP-1790): then the size is the one in there, the
// driver is asked only if it is the node's turn, and what becomes of it is
// written there as well.
func (d *Drivers) Expand(ctx context.Context, r Request, pvc *v1.PersistentVolumeClaim, vol pod.Volume) error {
	size, has := r.PV.Spec.Capacity[v1.ResourceStorage], pvc.Status.Capacity[v1.ResourceStorage]
	if size.Cmp(has) <= 0 || r.ReadOnly {
		return nil
	}
	if recovers(pvc) {
		if !nodesTurn(pvc) {
			return nil
		}
		if allocated, ok := pvc.Status.AllocatedResources[v1.ResourceStorage]; ok {
			size = allocated
		}
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
	return d.growAndSay(ctx, v, pvc, size, vol)
}

// growAndSay has the driver expand the volume, and says in the claim and to the
// pod what came of it.
func (d *Drivers) growAndSay(ctx context.Context, v *volume, pvc *v1.PersistentVolumeClaim, size resource.Quantity, vol pod.Volume) error {
	c, err := d.dial(ctx, v.DriverName)
	if err != nil {
		return err
	}
	defer c.close()
	if !c.can[csi.NodeServiceCapability_RPC_EXPAND_VOLUME] {
		return nil // the controller's side does all there is to do
	}
	if pvc, err = d.sayGrowing(ctx, pvc); err != nil {
		return fmt.Errorf("write into claim that its volume is expanded: %w", err)
	}
	if err := d.grow(ctx, c, v, size.Value(), vol); err != nil {
		d.o.Event(v.Pod, v1.EventTypeWarning, eventResizeFailed, fmt.Sprintf("NodeExpandVolume.NodeExpandVolume failed for volume %q : %v", v.PV.Name, err))
		if status.Code(err) == codes.FailedPrecondition { // not while it is used, which is no reason not to use it
			return d.sayNotGrown(ctx, pvc, size, err)
		}
		return errors.Join(err, d.sayNotGrown(ctx, pvc, size, err))
	}
	if err := d.sayGrown(ctx, pvc, size); err != nil {
		return fmt.Errorf("write size of claim: %w", err)
	}
	d.o.Event(v.Pod, v1.EventTypeNormal, eventResized, fmt.Sprintf("MountVolume.NodeExpandVolume succeeded for volume %q %s", v.PV.Name, d.o.Node))
	return nil
}

// grow asks the driver.
func (d *Drivers) grow(ctx context.Context, c *client, v *volume, bytes int64, vol pod.Volume) error {
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
