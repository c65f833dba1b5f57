package identity

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// A route is the way to the API server: connections that show the certificate that
// the node has by then, to servers that the kubeconfig trusts by then. Connections
// that are there already stay.
type route struct {
	holder  *holder
	current atomic.Pointer[http.Transport]

	mu sync.Mutex // guards what follows
	ca []byte     // the authorities that current trusts
}

// RoundTrip implements http.RoundTripper.
func (r *route) RoundTrip(request *http.Request) (*http.Response, error) {
	return r.current.Load().RoundTrip(request)
}

// WrappedRoundTripper lets client-go see what is beneath.
func (r *route) WrappedRoundTripper() http.RoundTripper { return r.current.Load() }

// trust has connections made from now on trust the authorities of config. It
// reports whether these are others than before.
func (r *route) trust(config *rest.Config) (bool, error) {
	config = rest.AnonymousClientConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return false, fmt.Errorf("use kubeconfig %s: %w", r.holder.o.Kubeconfig, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.current.Load()
	if old != nil && bytes.Equal(config.CAData, r.ca) {
		return false, nil
	}
	secure, err := rest.TLSConfigFor(config)
	if err != nil {
		return false, fmt.Errorf("use kubeconfig %s: %w", r.holder.o.Kubeconfig, err)
	}
	r.ca = config.CAData
	r.current.Store(r.holder.connections(secure))
	if old != nil {
		old.CloseIdleConnections()
	}
	return true, nil
}

// connections are those that show the current certificate.
func (h *holder) connections(secure *tls.Config) *http.Transport {
	if secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		if c := h.current.Load(); c != nil {
			return c, nil
		}
		return &tls.Certificate{}, nil
	}
	return utilnet.SetTransportDefaults(&http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: secure,
		MaxIdleConnsPerHost: 25, DialContext: h.dialer.DialContext,
	})
}

// retrust takes up the authorities that the kubeconfig names by now: those of a
// cluster can be replaced while the node runs.
func (h *holder) retrust(ctx context.Context) {
	config, err := h.o.read(h.o.Kubeconfig)
	changed := false
	if err == nil {
		changed, err = h.route.trust(config)
	}
	switch {
	case err != nil:
		h.o.Log.LogAttrs(ctx, slog.LevelWarn, "trust the authorities of before", slog.Any("err", err))
	case changed:
		h.o.Log.LogAttrs(ctx, slog.LevelInfo, "the kubeconfig trusts other authorities", slog.String("path", h.o.Kubeconfig))
	}
}
