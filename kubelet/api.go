package kubelet

import (
	"context"

	"golang.org/x/sync/errgroup"

	"boot.internal/kubelet/server"
	"boot.internal/kubelet/source"
	"boot.internal/kubelet/status"
)

// followAPI waits until there is an API server, and then keeps the node, the
// mirrors and the statuses there, until ctx ends.
func (k *kubelet) followAPI(ctx context.Context) error {
	if k.o.Kubeconfig == "" {
		k.connectAlone(ctx)
		return nil
	}
	reached := k.diary.reaching()
	client, err := k.connect(ctx)
	if err != nil {
		return nil //nolint:nilerr // ctx ended
	}
	reached()
	reviews := server.ReviewsOf(client)
	k.reviews.Store(&reviews)
	k.client.Store(&client)
	apart, err := k.connectApart()
	if err != nil {
		return err
	}
	k.events.connect(ctx, apart.events, k.runtime.Quiet)
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
	k.connectPods(ctx, &g, apart.core)
	k.followServers(ctx, &g, client)
	k.keepServing(ctx, &g, client)
	k.approveServing(ctx, &g, client)
	g.Go(func() error { k.rotator.run(ctx, apart.core); return nil })
	g.Go(func() error { k.followStorage(ctx); return nil })
	g.Go(func() error { k.csi.FollowLimits(ctx); return nil })
	g.Go(func() error { k.claims.Wipe(ctx); return nil })
	return g.Wait()
}
