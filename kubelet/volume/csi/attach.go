package csi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// driverCheck is how often the driver is looked at while a volume is not attached
// yet: it may become one whose volumes never will be.
const driverCheck = 5 * time.Second

// attach waits until a volume is attached, if it has to be, and returns what there
// is to know of it by then.
func (d *Drivers) attach(ctx context.Context, r Request) (*volume, error) {
	v, err := d.volume(ctx, r)
	if err != nil {
		return nil, err
	}
	d.want(v.key(), r.Pod.UID)
	if v.attaches() {
		d.use(v.unique(), r.Pod.UID)
		waited, err := d.awaitAttached(ctx, v)
		if err != nil {
			return nil, d.unattached(ctx, v, err)
		}
		if waited { // its driver may have changed meanwhile
			if v, err = d.volume(ctx, r); err != nil {
				return nil, err
			}
		}
	}
	if !v.attaches() {
		d.disuse(v)
	}
	return v, nil
}

// disuse lets a volume be detached that is no longer to be attached for a pod. If the
// pod has it already, it stays as it is until the pod ends.
func (d *Drivers) disuse(v *volume) {
	all, err := d.publishedTo(v.Pod.UID)
	if err == nil && !slices.ContainsFunc(all, func(p published) bool { return p.key() == v.key() }) {
		d.release(v.unique(), v.Pod.UID)
	}
}

// awaitAttached waits until the Node says that the volume is attached, or the driver
// wants it no longer. waited tells that neither was so at first. The attach-detach
// controller attaches; it may detach volumes that the Node does not say to be in use,
// so that comes first.
func (d *Drivers) awaitAttached(ctx context.Context, v *volume) (waited bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	check := time.NewTicker(driverCheck)
	defer check.Stop()
	for ; ; waited = true {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		err = attachedTo(d.o.NodeObject(), v.unique())
		if err == nil {
			return waited, nil
		}
		select {
		case <-changed:
		case <-check.C:
			if now, err := d.volume(ctx, v.Request); err == nil && !now.attaches() {
				return true, nil
			}
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return true, fmt.Errorf("timed out waiting for the condition: %w", err)
			}
			return true, ctx.Err()
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
