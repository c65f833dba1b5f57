package volume

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/csi"
)

// Tend does for the volumes of a running pod what has come up since they were
// made: a claim may have been given a larger size, and some drivers want to
// publish a volume again now and then. A node may not watch claims, so this is
// to be called every minute or so.
func (v *Volumes) Tend(ctx context.Context, p *v1.Pod) error {
	var failed []error
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		if !outlives(vol) {
			continue
		}
		if err := v.tend(ctx, p, vol); err != nil {
			failed = append(failed, setUpError(vol.Name, err))
		}
	}
	return errors.Join(failed...)
}

// tend looks after one volume. One that an earlier process has made is made
// again, which changes nothing, so that it is known what it is. In the pod's
// turn it cannot have been removed meanwhile.
func (v *Volumes) tend(ctx context.Context, p *v1.Pod, vol *v1.Volume) error {
	done, err := v.podTurn(ctx, p.UID)
	if err != nil {
		return err
	}
	defer done()
	have, ok := v.kept.get(p.UID, vol.Name)
	if !ok {
		if v.hasLasting(p.UID) && mounted(p)[vol.Name] {
			_, err = v.makeOnce(ctx, p, vol)
		}
		return err
	}
	if vol.CSI != nil {
		return v.CSI.Republish(ctx, csi.Request{Pod: p, Inline: vol.CSI, Name: vol.Name})
	}
	c, err := v.claim(ctx, p, vol)
	if err != nil || c.pv.Spec.CSI == nil {
		return err
	}
	r := csi.Request{Pod: p, PV: c.pv, ReadOnly: c.readOnly, Block: have.Device != ""}
	if !r.Block {
		if err := v.CSI.Republish(ctx, r); err != nil {
			return err
		}
	}
	return v.CSI.Expand(ctx, r, c.pvc, have)
}

// hasLasting reports whether the pod has volumes that outlive it, as the disk
// tells.
func (v *Volumes) hasLasting(uid types.UID) bool {
	for _, plugin := range []string{"csi", "local-volume"} {
		for _, dir := range []string{volumesDir, devicesDir} {
			entries, err := os.ReadDir(filepath.Join(v.podDir(uid), dir, "kubernetes.io~"+plugin))
			if err == nil && len(entries) > 0 {
				return true
			}
		}
	}
	return false
}

// Tended reports whether a pod has volumes that Tend is for.
func Tended(p *v1.Pod) bool {
	for i := range p.Spec.Volumes {
		if outlives(&p.Spec.Volumes[i]) {
			return true
		}
	}
	return false
}

// A Lasting is a volume of a pod that outlives it, or that a driver has made.
type Lasting struct {
	pod.Volume
	Name   string // in the pod
	Claim  string // the pod's claim to it, "" if it has none
	Driver bool   // a CSI driver has made it
}

// Lasting returns the volumes of a running pod that are file systems of their
// own.
func (v *Volumes) Lasting(p *v1.Pod) []Lasting {
	var all []Lasting
	for i := range p.Spec.Volumes {
		vol := &p.Spec.Volumes[i]
		have, ok := v.kept.get(p.UID, vol.Name)
		if !ok || have.Path == "" {
			continue
		}
		plugin := pluginOf(v.podDir(p.UID), have.Path)
		if plugin == "" { // a directory of the node, which upstream does not measure either
			continue
		}
		all = append(all, Lasting{Volume: have, Name: vol.Name, Claim: claimName(p, vol), Driver: plugin == "kubernetes.io~csi"})
	}
	return all
}
