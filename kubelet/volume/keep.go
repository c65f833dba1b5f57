package volume

import (
	"context"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/volume/csi"
)

// Kept are the volumes that were made and stay as they are while the pod lives.
// A container that is started again needs neither the API nor a driver. The zero
// value is ready.
type kept struct {
	mu   sync.Mutex // guards pods
	pods map[types.UID]map[string]pod.Volume
}

func (k *kept) get(uid types.UID, name string) (pod.Volume, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	vol, ok := k.pods[uid][name]
	return vol, ok
}

func (k *kept) put(uid types.UID, name string, vol pod.Volume) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pods == nil {
		k.pods = map[types.UID]map[string]pod.Volume{}
	}
	if k.pods[uid] == nil {
		k.pods[uid] = map[string]pod.Volume{}
	}
	k.pods[uid][name] = vol
}

func (k *kept) forget(uid types.UID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.pods, uid)
}

// outlives reports whether a volume is made of something that is there without
// the pod: it takes the API, or a driver, to find it.
func outlives(vol *v1.Volume) bool {
	return vol.PersistentVolumeClaim != nil || vol.Ephemeral != nil || vol.CSI != nil
}

// podTurn waits until nobody makes, tends or removes lasting volumes of a pod.
func (v *Volumes) podTurn(ctx context.Context, uid types.UID) (done func(), err error) {
	return v.turns.Take(ctx, "pod "+string(uid))
}

// once makes a volume unless that was done.
func (v *Volumes) once(ctx context.Context, p *v1.Pod, vol *v1.Volume) (pod.Volume, error) {
	done, err := v.podTurn(ctx, p.UID)
	if err != nil {
		return pod.Volume{}, err
	}
	defer done()
	return v.makeOnce(ctx, p, vol)
}

// makeOnce is once in the pod's turn.
func (v *Volumes) makeOnce(ctx context.Context, p *v1.Pod, vol *v1.Volume) (pod.Volume, error) {
	if have, ok := v.kept.get(p.UID, vol.Name); ok {
		return have, nil
	}
	if v.Client == nil || v.CSI == nil {
		return pod.Volume{}, fmt.Errorf("volumes of kind %s need an API server", kind(vol.VolumeSource))
	}
	made, err := v.outliving(ctx, p, vol)
	if err == nil {
		v.kept.put(p.UID, vol.Name, made)
	}
	return made, err
}

func (v *Volumes) outliving(ctx context.Context, p *v1.Pod, vol *v1.Volume) (pod.Volume, error) {
	if vol.CSI != nil {
		return v.CSI.Publish(ctx, csi.Request{Pod: p, Inline: vol.CSI, Name: vol.Name})
	}
	return v.claimed(ctx, p, vol)
}
