package kubelet

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/approve"
)

// approveServing approves the serving certificates of nodes, where this is a node
// of the control plane: it has an API server among its static pods, and with it
// the authority that signs them.
func (k *kubelet) approveServing(ctx context.Context, g *errgroup.Group, client kubernetes.Interface) {
	if k.o.Config.StaticPodPath == "" {
		return
	}
	if _, err := os.Stat(filepath.Join(k.o.Config.StaticPodPath, "kube-apiserver.yaml")); err != nil {
		return
	}
	g.Go(func() error { approve.Run(ctx, client, k.o.Logger); return nil })
}
