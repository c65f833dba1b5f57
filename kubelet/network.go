package kubelet

import (
	"context"
	"log/slog"
	"net/netip"

	"golang.org/x/sync/errgroup"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// A Network connects the pods of this node with each other and with those of
// other nodes.
type Network interface {
	// SetPodCIDRs says which ranges the node has for its pods. It never blocks.
	SetPodCIDRs(cidrs []netip.Prefix)
	// Run does the work until ctx ends; a nil api says that there are no other
	// nodes. Event records an event of this node and does not block.
	Run(ctx context.Context, api typedv1.CoreV1Interface, event func(kind, reason, message string))
}

// setPodCIDRs passes the ranges of this node on.
func (k *kubelet) setPodCIDRs(texts []string) {
	if k.o.Network == nil {
		return
	}
	var cidrs []netip.Prefix
	for _, text := range texts {
		c, err := netip.ParsePrefix(text)
		if err != nil {
			k.o.Logger.Warn("read pod CIDR", slog.Any("err", err))
			continue
		}
		cidrs = append(cidrs, c)
	}
	k.o.Network.SetPodCIDRs(cidrs)
}

// connectPods keeps the pod network until ctx ends.
func (k *kubelet) connectPods(ctx context.Context, g *errgroup.Group, api typedv1.CoreV1Interface) {
	if k.o.Network != nil {
		g.Go(func() error { k.o.Network.Run(ctx, api, k.events.ofNode); return nil })
	}
}

// connectAlone does the same where there is no API server: for the range of the
// configuration, if it names one.
func (k *kubelet) connectAlone(ctx context.Context) {
	if k.o.Network == nil || k.o.Config.PodCIDR == "" {
		return
	}
	k.setPodCIDRs([]string{k.o.Config.PodCIDR})
	k.o.Network.Run(ctx, nil, k.events.ofNode)
}
