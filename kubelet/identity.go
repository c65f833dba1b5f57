package kubelet

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"boot.internal/kubelet/identity"
)

// identities are what the node shows others.
type identities struct {
	client  atomic.Pointer[identity.Client] // nil before there is an API server
	serving *identity.Serving               // nil where the cluster does not sign it
}

func (i *identities) clientCertificate() *tls.Certificate {
	if c := i.client.Load(); c != nil {
		return c.Certificate()
	}
	return nil
}

// signed returns the serving certificate that the cluster signed, nil if there is
// none.
func (i *identities) signed() *tls.Certificate {
	if i.serving == nil {
		return nil
	}
	return i.serving.Certificate()
}

// nodeIs hears that the node is another one than before.
func (i *identities) nodeIs() {
	if i.serving != nil {
		i.serving.Poke()
	}
}

func (k *kubelet) certDir() string { return cmp.Or(k.o.CertDir, filepath.Join(k.o.RootDir, "pki")) }

// connect waits until there is an API server that the node can ask.
func (k *kubelet) connect(ctx context.Context) (kubernetes.Interface, error) {
	c := k.o.Config
	client, err := identity.NewClient(ctx, identity.ClientOptions{
		Kubeconfig: k.o.Kubeconfig, Bootstrap: k.o.BootstrapKubeconfig, CertDir: k.certDir(), Node: k.o.Node, Rotate: c.RotateCertificates,
		QPS: float32(ptr.Deref(c.KubeAPIQPS, 0)), Burst: int(c.KubeAPIBurst), UserAgent: "boot/" + k.o.Version, Wrap: k.tracer.API(),
		Waiting: func(err error) {
			k.o.Logger.LogAttrs(ctx, slog.LevelInfo, "no API server yet", slog.Any("err", err))
		},
		Failed: k.metrics.identity.clientFailed, Log: k.o.Logger,
	})
	if err != nil {
		return nil, err
	}
	k.identity.client.Store(client)
	return client.API, nil
}

// newServing makes what keeps the serving certificate, where the cluster is to
// sign it.
func (k *kubelet) newServing() (err error) {
	if !k.o.Config.ServerTLSBootstrap || k.o.Kubeconfig == "" || k.o.Config.TLSCertFile != "" {
		return nil
	}
	k.identity.serving, err = identity.NewServing(identity.ServingOptions{
		Node: k.o.Node, CertDir: k.certDir(), Addresses: k.nodeAddresses,
		Failed: k.metrics.identity.serverFailed, Lived: k.metrics.identity.serverLived, Log: k.o.Logger,
	})
	return err
}

// nodeAddresses returns the addresses of the node as the API has them.
func (k *kubelet) nodeAddresses() []v1.NodeAddress {
	if n := k.node.Node(); n != nil {
		return n.Status.Addresses
	}
	return nil
}

// keepServing asks the cluster to sign the serving certificate.
func (k *kubelet) keepServing(ctx context.Context, g *errgroup.Group, client kubernetes.Interface) {
	if s := k.identity.serving; s != nil {
		g.Go(func() error { return s.Run(ctx, client) })
	}
}
