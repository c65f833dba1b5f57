package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
	"boot.internal/kubelet/stats"
	"boot.internal/kubelet/volume"
	"boot.internal/kubelet/volume/csi"
)

// shareMounts has mounts spread between pods that ask for it and the node.
// Where that is not possible, others need not go without a kubelet.
func (k *kubelet) shareMounts() {
	if err := volume.Share(k.o.RootDir); err != nil {
		k.o.Logger.Warn("mounts do not spread into pods", slog.Any("err", err))
	}
}

// newCSI makes what mounts volumes by drivers.
func (k *kubelet) newCSI(ctx context.Context) {
	k.csi = csi.New(csi.Options{
		RootDir: k.o.RootDir, Node: k.o.Node, Client: k.apiClient, NodeObject: k.node.Node,
		InUse:   k.node.SetVolumesInUse,
		Arrived: func() { go k.dispatch.retry(ctx) },
		Event:   k.events.ofPod, Log: k.o.Logger,
	})
	k.node.SetVolumesInUse(k.csi.InUse())
}

// tendEvery is how often volumes are looked after, of which nobody may be told:
// about as often as upstream does.
const tendEvery = 75 * time.Second

// tendsAtOnce is how many pods are looked after at a time: drivers take theirs.
const tendsAtOnce = 8

// followStorage keeps in the API what drivers are about, and the volumes of
// running pods as the API wants them, until ctx ends.
func (k *kubelet) followStorage(ctx context.Context) {
	k.csi.Init(ctx)
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.tendVolumes(ctx)
		}
	}
}

func (k *kubelet) tendVolumes(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(tendsAtOnce)
	for _, p := range k.desired() {
		if !volume.Tended(p) || k.isOver(p.UID) {
			continue
		}
		g.Go(func() error {
			if err := k.volumes.Tend(ctx, p); err != nil && ctx.Err() == nil {
				k.events.ofPod(p, v1.EventTypeWarning, "FailedMount", err.Error())
			}
			return nil
		})
	}
	_ = g.Wait() // they have no errors to return
}

// overLimit has a pod fail whose volumes cannot be attached for want of room on
// the node (KEP-4876): whatever made it makes another, and the scheduler knows by
// now. That it is pending says nothing to either.
func (k *kubelet) overLimit(ctx context.Context, p *v1.Pod, err error) {
	var failed *pod.ActionError
	if errors.As(err, &failed) && failed.Reason == volume.ReasonLimit && ctx.Err() == nil {
		k.reject(ctx, p, failed.Reason, failed.Err)
	}
}

// lasting returns how to measure the volumes of a pod that outlive it.
func (k *kubelet) lasting(p *v1.Pod) []stats.Volume {
	var all []stats.Volume
	for _, l := range k.volumes.Lasting(p) {
		one := stats.Volume{Name: l.Name, Path: l.Path, Claim: l.Claim, Whole: true}
		if l.Driver {
			one.Ask = func(ctx context.Context) (*statsapi.FsStats, error) { return k.csi.Stats(ctx, l.Volume) }
		}
		all = append(all, one)
	}
	return all
}

// onNode passes a new Node object on to those who go by it.
func (k *kubelet) onNode(n *v1.Node) {
	k.diary.nodeIs(n)
	k.mirrors.SetNode(n)
	k.setNode(n)
	k.csi.NodeChanged()
	k.rotator.nodeIs(n)
	k.identity.nodeIs()
}

// apiClient returns a client of the API, nil while there is none.
func (k *kubelet) apiClient() kubernetes.Interface {
	if c := k.client.Load(); c != nil {
		return *c
	}
	return nil
}

// nodeFacts returns what pods get to see of the node, with what the engine says
// of itself.
func (k *kubelet) nodeFacts() spec.Node {
	facts := k.facts
	engine := k.engine.Load()
	if engine == nil {
		return facts
	}
	facts.RecursiveReadOnly, facts.UserNamespaces = map[string]bool{}, map[string]bool{}
	for _, h := range engine.Handlers {
		f := h.Features
		facts.RecursiveReadOnly[h.Name] = f != nil && f.RecursiveReadOnlyMounts != nil && *f.RecursiveReadOnlyMounts
		facts.UserNamespaces[h.Name] = f != nil && f.UserNamespaces != nil && *f.UserNamespaces
	}
	return facts
}
