package kubelet

import (
	"context"
	"log/slog"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/server"
	"boot.internal/kubelet/source"
	"boot.internal/kubelet/status"
)

// followAPI waits until there is an API server, and then keeps the node, the
// mirrors and the statuses there, until ctx ends.
func (k *kubelet) followAPI(ctx context.Context) error {
	if k.o.Kubeconfig == "" {
		k.configureNetwork(ctx, standaloneCIDRs(k.o.Config.PodCIDR))
		return nil
	}
	client, err := k.connect(ctx)
	if err != nil {
		return nil //nolint:nilerr // ctx ended
	}
	reviews := server.ReviewsOf(client)
	k.reviews.Store(&reviews)
	k.client.Store(&client)
	apart, err := k.connectApart()
	if err != nil {
		return err
	}
	k.events.connect(ctx, apart.events)
	var g errgroup.Group
	g.Go(func() error { k.node.Run(ctx, apart); return nil })
	g.Go(func() error { k.followObjects(ctx, client); return nil })
	g.Go(func() error {
		k.api.Run(ctx, client.CoreV1(), func(s source.Snapshot) { k.wanted(ctx, s) })
		return nil
	})
	g.Go(func() error { k.mirrors.Run(ctx, client.CoreV1()); return nil })
	g.Go(func() error { k.writer.Run(ctx, status.Client(client.CoreV1())); return nil })
	k.followEnvironment(ctx, &g, client)
	k.keepServing(ctx, &g, client)
	k.approveServing(ctx, &g, client)
	g.Go(func() error { k.followStorage(ctx); return nil })
	return g.Wait()
}

// configureNetwork makes the pod network for the ranges of this node.
func (k *kubelet) configureNetwork(ctx context.Context, cidrs []string) {
	if k.o.Network == nil || len(cidrs) == 0 {
		return
	}
	if err := k.o.Network(ctx, cidrs); err != nil {
		k.events.ofNode(v1.EventTypeWarning, "PodNetwork", err.Error())
		return
	}
	k.o.Logger.LogAttrs(ctx, slog.LevelInfo, "pod network is configured", slog.Any("cidrs", cidrs))
}

func standaloneCIDRs(cidr string) []string {
	if cidr == "" {
		return nil
	}
	return []string{cidr}
}
