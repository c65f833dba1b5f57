package kubelet

import (
	"context"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"boot.internal/kubelet/links"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtimeclass"
)

// withAPI completes the options of the runtime with what only an API server
// knows. Without one containers that ask for it are told so.
func (k *kubelet) withAPI(o runtime.Options) runtime.Options {
	if k.o.Kubeconfig == "" {
		return o
	}
	k.links, k.classes = links.New(links.Options{Log: k.o.Logger}), runtimeclass.New()
	o.Objects, o.Services, o.Classes = k.objects, k.links, k.classes
	return o
}

// followEnvironment follows what the environment of containers is made of until
// ctx ends.
func (k *kubelet) followEnvironment(ctx context.Context, g *errgroup.Group, client kubernetes.Interface) {
	k.classes.Connect(client.NodeV1())
	g.Go(func() error { k.links.Run(ctx, client.CoreV1()); return nil })
}
