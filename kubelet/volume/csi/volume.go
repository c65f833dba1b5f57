package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// ephemeral is how volumes that live and die with a pod are recorded.
const ephemeral = string(storagev1.VolumeLifecycleEphemeral)

// A Request asks for one volume of a pod: PV or Inline.
type Request struct {
	Pod *v1.Pod
	PV  *v1.PersistentVolume // its spec.csi is set
	// Inline is a volume that lives and dies with the pod, and Name its name there.
	Inline *v1.CSIVolumeSource
	Name   string

	ReadOnly bool // as the pod's claim says
	Block    bool // to be a block device
}

// A volume is a request with what the API knows of the driver.
type volume struct {
	Request
	record
	driver       *storagev1.CSIDriver // nil if there is no such object
	attributes   map[string]string
	fsType       string
	accessMode   v1.PersistentVolumeAccessMode
	mountOptions []string
	block        bool
	readOnly     bool
	stageSecret  *v1.SecretReference
	publishSec   *v1.SecretReference
	// attached is what the attacher says to the driver.
	attached map[string]string
}

// volume finds out what there is to know of the request.
func (d *Drivers) volume(ctx context.Context, r Request) (*volume, error) {
	v := &volume{Request: r, block: r.Block, readOnly: r.ReadOnly, accessMode: v1.ReadWriteOnce}
	if r.PV != nil {
		v.ofPV(r.PV)
	} else {
		v.ofPod()
	}
	v.NodeName = d.o.Node
	v.AttachmentID = attachmentName(v.VolumeHandle, v.DriverName, d.o.Node)
	if escape(v.DriverName) != v.DriverName || v.DriverName == "" || v.DriverName == "." || v.DriverName == ".." {
		return nil, fmt.Errorf("%q is no name of a driver", v.DriverName)
	}
	api, err := d.api()
	if err != nil {
		return nil, err
	}
	v.driver, err = api.StorageV1().CSIDrivers().Get(ctx, v.DriverName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		v.driver, err = nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get CSIDriver %s: %w", v.DriverName, err)
	}
	return v, v.checkMode()
}

func (v *volume) ofPV(pv *v1.PersistentVolume) {
	src := pv.Spec.CSI
	v.record = record{
		SpecVolID: pv.Name, DriverName: src.Driver, VolumeHandle: src.VolumeHandle,
		VolumeLifecycleMode: string(storagev1.VolumeLifecyclePersistent),
	}
	v.attributes, v.fsType, v.mountOptions = src.VolumeAttributes, src.FSType, pv.Spec.MountOptions
	v.stageSecret, v.publishSec = src.NodeStageSecretRef, src.NodePublishSecretRef
	if len(pv.Spec.AccessModes) > 0 {
		v.accessMode = pv.Spec.AccessModes[0]
	}
}

func (v *volume) ofPod() {
	src := v.Inline
	v.record = record{
		SpecVolID: v.Name, DriverName: src.Driver, VolumeHandle: inlineHandle(v.Pod.UID, v.Name),
		VolumeLifecycleMode: ephemeral,
	}
	v.attributes, v.fsType = src.VolumeAttributes, ptr.Deref(src.FSType, "")
	v.readOnly = ptr.Deref(src.ReadOnly, false)
	if src.NodePublishSecretRef != nil {
		v.publishSec = &v1.SecretReference{Namespace: v.Pod.Namespace, Name: src.NodePublishSecretRef.Name}
	}
}

// persistent reports whether the volume outlives the pod.
func (v *volume) persistent() bool { return v.PV != nil }

// checkMode makes sure that the driver is made for volumes that live as long.
func (v *volume) checkMode() error {
	mode := storagev1.VolumeLifecycleMode(v.VolumeLifecycleMode)
	switch {
	case v.driver == nil && v.persistent():
		return nil
	case v.driver == nil:
		return fmt.Errorf("volume mode %q not supported by driver %s (no CSIDriver object)", mode, v.DriverName)
	case !slices.Contains(v.driver.Spec.VolumeLifecycleModes, mode):
		return fmt.Errorf("volume mode %q not supported by driver %s (only supports %q)", mode, v.DriverName, v.driver.Spec.VolumeLifecycleModes)
	}
	return nil
}

// attaches reports whether the volume must be attached to the node first.
func (v *volume) attaches() bool {
	return v.persistent() && (v.driver == nil || ptr.Deref(v.driver.Spec.AttachRequired, true))
}

// fsGroup returns the group the pod wants to own the volume, nil for none.
func (v *volume) fsGroup() *int64 {
	if sc := v.Pod.Spec.SecurityContext; sc != nil {
		return sc.FSGroup
	}
	return nil
}

// takesGroup reports whether boot is to make the group the owner.
func (v *volume) takesGroup() (bool, error) {
	policy := storagev1.ReadWriteOnceWithFSTypeFSGroupPolicy
	if v.driver != nil {
		if policy = ptr.Deref(v.driver.Spec.FSGroupPolicy, ""); policy == "" {
			return false, errors.New("expected valid fsGroupPolicy, received nil value or empty string")
		}
	}
	switch {
	case v.block || v.fsGroup() == nil || v.readOnly || policy == storagev1.NoneFSGroupPolicy:
		return false, nil
	case policy == storagev1.FileFSGroupPolicy:
		return true, nil
	case v.fsType == "":
		return false, nil
	case !v.persistent():
		return true, nil
	}
	return slices.ContainsFunc(v.PV.Spec.AccessModes, func(m v1.PersistentVolumeAccessMode) bool {
		return m == v1.ReadWriteOnce || m == v1.ReadWriteOncePod
	}), nil
}

// secret returns what is in a secret that a volume names.
func (d *Drivers) secret(ctx context.Context, ref *v1.SecretReference, purpose string) (map[string]string, error) {
	all := map[string]string{}
	if ref == nil {
		return all, nil
	}
	api, err := d.api()
	if err != nil {
		return nil, err
	}
	s, err := api.CoreV1().Secrets(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("fetching %s %s/%s failed: %w", purpose, ref.Namespace, ref.Name, err)
	}
	for key, value := range s.Data {
		all[key] = string(value)
	}
	return all, nil
}

// merged returns the entries of both; those of the second win.
func merged(first, second map[string]string) map[string]string {
	all := maps.Clone(first)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, second)
	return all
}
