package volume

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"

	"boot.internal/kubelet/pod"
)

// protection is the finalizer that keeps a claim while a pod uses it.
const protection = "kubernetes.io/pvc-protection"

var errNoAPI = errors.New("there is no API server yet")

// claimed makes a volume that the pod has a claim to. Until the claim is bound
// that fails. The words are upstream's.
func (v *Volumes) claimed(ctx context.Context, p *v1.Pod, vol *v1.Volume) (pod.Volume, error) {
	c, err := v.claim(ctx, p, vol)
	if err != nil {
		return pod.Volume{}, err
	}
	mode := v1.PersistentVolumeFilesystem
	if m := c.pv.Spec.VolumeMode; m != nil {
		mode = *m
	}
	c.block = mode == v1.PersistentVolumeBlock
	mounts, devices := uses(p, vol.Name)
	if mounts && c.block {
		return pod.Volume{}, fmt.Errorf("volume %s has volumeMode %s, but is specified in volumeMounts", vol.Name, mode)
	}
	if devices && !c.block {
		return pod.Volume{}, fmt.Errorf("volume %s has volumeMode %s, but is specified in volumeDevices", vol.Name, mode)
	}
	return v.persistent(ctx, p, c)
}

// A claim is a PersistentVolume that a pod may use.
type claim struct {
	pvc      *v1.PersistentVolumeClaim
	pv       *v1.PersistentVolume
	readOnly bool // as the pod says
	block    bool
}

// claim finds the PersistentVolume that a volume of a pod stands for.
func (v *Volumes) claim(ctx context.Context, p *v1.Pod, vol *v1.Volume) (claim, error) {
	name := claimName(p, vol)
	c, err := v.bound(ctx, p.Namespace, name)
	if err != nil {
		return claim{}, fmt.Errorf("error processing PVC %s/%s: %w", p.Namespace, name, err)
	}
	if vol.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(p, c.pvc); err != nil {
			return claim{}, err
		}
	}
	c.readOnly = vol.PersistentVolumeClaim != nil && vol.PersistentVolumeClaim.ReadOnly
	return c, nil
}

// claimName returns the name of the claim that a volume is made of, "" for none.
func claimName(p *v1.Pod, vol *v1.Volume) string {
	switch {
	case vol.PersistentVolumeClaim != nil:
		return vol.PersistentVolumeClaim.ClaimName
	case vol.Ephemeral != nil:
		return ephemeral.VolumeClaimName(p, vol)
	default:
		return ""
	}
}

// pluginOf returns the part of a path in a pod's directory that says who made
// the volume, "" where it is elsewhere.
func pluginOf(podDir, path string) string {
	rel, err := filepath.Rel(filepath.Join(podDir, volumesDir), path)
	if err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	plugin, _, _ := strings.Cut(rel, "/")
	return plugin
}

// bound returns a claim and its volume.
func (v *Volumes) bound(ctx context.Context, namespace, name string) (claim, error) {
	api := v.Client()
	if api == nil {
		return claim{}, errNoAPI
	}
	pvc, err := api.CoreV1().PersistentVolumeClaims(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err != nil:
		return claim{}, fmt.Errorf("failed to fetch PVC from API server: %w", err)
	case pvc.DeletionTimestamp != nil && !slices.Contains(pvc.Finalizers, protection):
		return claim{}, errors.New("PVC is being deleted")
	case pvc.Status.Phase != v1.ClaimBound:
		return claim{}, errors.New("PVC is not bound")
	case pvc.Spec.VolumeName == "":
		return claim{}, errors.New("PVC has empty pvc.Spec.VolumeName")
	}
	pv, err := api.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
	switch {
	case err != nil:
		return claim{}, fmt.Errorf("failed to fetch PV %s from API server: %w", pvc.Spec.VolumeName, err)
	case pv.Spec.ClaimRef == nil:
		return claim{}, fmt.Errorf("found PV object %s but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim", pv.Name)
	case pv.Spec.ClaimRef.UID != pvc.UID:
		return claim{}, fmt.Errorf("found PV object %s but its pv.Spec.ClaimRef.UID %s does not point to claim.UID %s",
			pv.Name, pv.Spec.ClaimRef.UID, pvc.UID)
	}
	return claim{pvc: pvc, pv: pv}, nil
}

// uses reports how containers of p use a volume.
func uses(p *v1.Pod, name string) (mounts, devices bool) {
	for _, c := range pod.Containers(p) {
		mounts = mounts || slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == name })
		devices = devices || slices.ContainsFunc(c.VolumeDevices, func(d v1.VolumeDevice) bool { return d.Name == name })
	}
	return mounts, devices
}
