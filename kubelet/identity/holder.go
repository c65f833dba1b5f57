package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
	"k8s.io/client-go/util/connrotation"
	"k8s.io/klog/v2"
)

// A holder holds the client certificate of the node and renews it.
type holder struct {
	o       ClientOptions
	store   *store
	dialer  *connrotation.Dialer
	route   *route
	current atomic.Pointer[tls.Certificate] // nil before there is one
	initial [2][]byte                       // certificate and key of the kubeconfig itself, if it holds any

	once  sync.Once
	first chan struct{} // closed once there is a certificate
}

// newHolder makes the holder of what CertDir has. A certificate inside the
// kubeconfig is used until the first of the node's own.
func newHolder(o ClientOptions, config *rest.Config) (*holder, error) {
	h := &holder{
		o: o, first: make(chan struct{}),
		dialer: connrotation.NewDialer((&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext),
	}
	h.route = &route{holder: h}
	var err error
	if h.store, err = openStore(o.CertDir, clientPrefix, o.Log, h.use); err != nil {
		return nil, err
	}
	inside := rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(inside); err == nil { // the files may be the store's, and not there yet
		h.initial = [2][]byte{inside.CertData, inside.KeyData}
	}
	return h, h.preferNewer()
}

// preferNewer puts the certificate of the kubeconfig into the store if that has
// an older one: somebody has set the node up anew, maybe for another cluster.
func (h *holder) preferNewer() error {
	stored, err := h.store.Current()
	if err != nil || len(h.initial[0]) == 0 {
		return nil //nolint:nilerr // there is none: the kubeconfig's is all there is
	}
	given, err := leaf(h.initial[0])
	if err != nil {
		return fmt.Errorf("use kubeconfig %s: %w", h.o.Kubeconfig, err)
	}
	if !given.NotBefore.After(stored.Leaf.NotBefore) {
		return nil
	}
	_, err = h.store.Update(h.initial[0], h.initial[1])
	return err
}

// use takes another certificate. Connections that were made with the one before
// are closed: the API server takes them for that one's until they end.
func (h *holder) use(c *tls.Certificate) {
	if old := h.current.Swap(c); old != nil && !old.Leaf.Equal(c.Leaf) {
		h.o.Log.Info("client certificate is renewed", slog.Time("until", c.Leaf.NotAfter))
		h.dialer.CloseAll()
	}
	h.once.Do(func() { close(h.first) })
}

// transport returns config with connections that show the current certificate, and
// trust the authorities that the kubeconfig names by then.
func (h *holder) transport(config *rest.Config) (*rest.Config, error) {
	if _, err := h.route.trust(config); err != nil {
		return nil, err
	}
	config = rest.AnonymousClientConfig(config)
	h.o.tune(config)
	config.Transport = h.route
	config.TLSClientConfig = rest.TLSClientConfig{} // the transport has it all
	return config, nil
}

// start begins to renew the certificate, and to ask for one if there is none,
// until ctx ends. While there is a valid one, the node asks as itself.
func (h *holder) start(ctx context.Context, client *Client, login *rest.Config) error {
	manager, err := certificate.NewManager(&certificate.Config{
		ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) {
			if c := h.current.Load(); c != nil && time.Now().Before(c.Leaf.NotAfter) {
				return client.API, nil
			}
			return kubernetes.NewForConfig(h.latest(login))
		},
		Template: &x509.CertificateRequest{Subject: subject(h.o.Node)}, SignerName: certificatesv1.KubeAPIServerClientKubeletSignerName,
		GetUsages: certificate.DefaultKubeletClientGetUsages, CertificateStore: h.store, CertificateRenewFailure: h.o.Failed,
		BootstrapCertificatePEM: h.initial[0], BootstrapKeyPEM: h.initial[1],
		Ctx: logging(ctx, h.o.Log),
	})
	if err != nil {
		return fmt.Errorf("keep client certificate: %w", err)
	}
	if c := manager.Current(); c != nil && h.current.Load() == nil {
		h.use(c)
	}
	manager.Start()
	go h.watch(ctx)
	if !h.o.Rotate { // the first one is all that is wanted
		go func() {
			select {
			case <-h.first:
				manager.Stop()
			case <-ctx.Done():
			}
		}()
	}
	return nil
}

// latest returns the bootstrap kubeconfig as it is now: its token may have been
// renewed since the start.
func (h *holder) latest(login *rest.Config) *rest.Config {
	if h.o.Bootstrap == "" {
		return login
	}
	if now, err := h.o.read(h.o.Bootstrap); err == nil {
		return now
	}
	return login
}

// subject is how the API server knows a node.
func subject(node string) pkix.Name {
	return pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}
}

// logging returns ctx with a logger for client-go.
func logging(ctx context.Context, log *slog.Logger) *context.Context {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(log.Handler()))
	return &ctx
}
