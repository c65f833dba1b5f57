package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// awaitAttached waits until the Node says that the volume is attached. The
// attach-detach controller does that; it may detach volumes that the Node does
// not say to be in use, so that comes first.
func (d *Drivers) awaitAttached(ctx context.Context, name v1.UniqueVolumeName) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		err := attachedTo(d.o.NodeObject(), name)
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("timed out waiting for the condition: %w", err)
			}
			return ctx.Err()
		}
	}
}

// attachedTo returns what is missing for a volume to be attached to a node.
func attachedTo(n *v1.Node, name v1.UniqueVolumeName) error {
	if n == nil {
		return errors.New("the node is not registered")
	}
	if !slices.Contains(n.Status.VolumesInUse, name) {
		return fmt.Errorf("volume %q has not been added to the list of VolumesInUse in the node's volume status", name)
	}
	if !slices.ContainsFunc(n.Status.VolumesAttached, func(a v1.AttachedVolume) bool { return a.Name == name }) {
		return fmt.Errorf("volume %q is not attached according to node status", name)
	}
	return nil
}

// attachment returns what the attacher says of a volume that is attached.
func (d *Drivers) attachment(ctx context.Context, v *volume) (map[string]string, error) {
	api, err := d.api()
	if err != nil {
		return nil, err
	}
	a, err := api.StorageV1().VolumeAttachments().Get(ctx, v.AttachmentID, metav1.GetOptions{})
	switch {
	case err != nil:
		return nil, fmt.Errorf("volume %v has GET error for volume attachment %v: %w", v.VolumeHandle, v.AttachmentID, err)
	case a.DeletionTimestamp != nil:
		return nil, errors.New("volume attachment is being deleted")
	case a.Status.Attached:
		return a.Status.AttachmentMetadata, nil
	case a.Status.AttachError != nil:
		return nil, errors.New(a.Status.AttachError.Message)
	}
	return nil, fmt.Errorf("volume %v is not attached for volume attachment %v", v.VolumeHandle, v.AttachmentID)
}
