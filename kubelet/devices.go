package kubelet

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"
	agents "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/kubelet/device"
	"boot.internal/kubelet/pod"
)

// newDevices makes what lends devices of plugins to pods.
func (k *kubelet) newDevices(ctx context.Context) {
	k.devices = device.New(device.Options{
		Dir: filepath.Join(k.o.RootDir, "device-plugins"), Changed: func() { k.devicesChanged(ctx) }, Log: k.o.Logger,
		Claimed: k.claims.Tell,
		Own:     func(p *v1.Pod, container string, to *agents.ContainerResources) { k.places.tell(p, container, to) },
		OwnAll:  func(to *agents.AllocatableResourcesResponse) { k.places.tellAll(to) },
	})
	k.node.SetDevices(k.devices.Capacity())
}

// runDevices takes in device plugins until ctx ends. Without them all other pods
// run.
func (k *kubelet) runDevices(ctx context.Context) {
	if err := k.devices.Run(ctx); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelError, "no device plugin can register", slog.Any("err", err))
	}
}

// tellDevices tells agents of the node which devices pods have, until ctx ends.
func (k *kubelet) tellDevices(ctx context.Context) {
	active := func() []*v1.Pod {
		return slices.DeleteFunc(slices.Clone(k.desired()), func(p *v1.Pod) bool {
			s, _ := k.writer.Get(p.UID)
			return hasEnded(&v1.Pod{Status: s})
		})
	}
	if err := k.devices.Tell(ctx, filepath.Join(k.o.RootDir, "pod-resources"), active); err != nil {
		k.o.Logger.LogAttrs(ctx, slog.LevelError, "no agent can ask for devices of pods", slog.Any("err", err))
	}
}

// devicesChanged tells the node, those who wait for devices, and those whose
// devices may be in another state.
func (k *kubelet) devicesChanged(ctx context.Context) {
	k.node.SetDevices(k.devices.Capacity())
	k.setNode(k.node.Node())
	go func() {
		for _, p := range k.desired() {
			if k.devices.Health(p.UID) != nil {
				k.dispatch.poke(ctx, pod.KeyOf(p))
			}
		}
	}()
}

// lendDevices gives a pod its devices before anything of it is made, and its CPUs and
// memory where it is to have them for itself. That there were enough was found at
// admission; what is refused after all is a rejection too.
func (k *kubelet) lendDevices(ctx context.Context, p *v1.Pod) error {
	err := k.place(ctx, p)
	if err == nil {
		return nil
	}
	reason, err := refusal(err)
	if !pod.IsStatic(p) && ctx.Err() == nil {
		k.reject(ctx, p, reason, err)
	}
	return &pod.ActionError{Reason: reason, Err: err}
}

// reject has a pod fail that was admitted, and cannot be run here after all.
func (k *kubelet) reject(ctx context.Context, p *v1.Pod, reason string, err error) {
	k.events.ofPod(p, v1.EventTypeWarning, reason, err.Error())
	k.stop(ctx, p.UID, pod.Stop{Grace: pod.Grace(p), Reason: reason, Message: "Pod was rejected: " + err.Error(), Fails: true})
}
