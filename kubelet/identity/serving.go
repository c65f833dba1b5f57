package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"

	certificatesv1 "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
)

// ServingOptions say for what a serving certificate is asked.
type ServingOptions struct {
	Node    string
	CertDir string
	// Addresses returns the addresses of the node as the cluster knows them. When
	// they change, of which Poke tells, another certificate is asked for; while there
	// are none, none is.
	Addresses func() []v1.NodeAddress
	// Failed counts requests that came to nothing, and Lived is told how many
	// seconds a certificate lived when it is replaced. Both may be nil.
	Failed Counter
	Lived  Histogram
	Log    *slog.Logger
}

// A Histogram counts values.
type Histogram interface{ Observe(float64) }

// Serving is the certificate that the node shows whoever calls it, signed by the
// cluster (serverTLSBootstrap).
type Serving struct {
	o       ServingOptions
	store   *store
	current atomic.Pointer[tls.Certificate]
	poke    chan struct{} // capacity 1
}

// NewServing returns what there is of an earlier time. Nothing is asked for
// before Run.
func NewServing(o ServingOptions) (*Serving, error) {
	s := &Serving{o: o, poke: make(chan struct{}, 1)}
	var err error
	if s.store, err = openStore(o.CertDir, serverPrefix, o.Log, s.use); err != nil {
		return nil, err
	}
	if c, err := s.store.Current(); err == nil { // else there is none yet
		s.current.Store(c)
	}
	return s, nil
}

// Certificate returns the certificate that is shown now, nil if there is none.
func (s *Serving) Certificate() *tls.Certificate { return s.current.Load() }

func (s *Serving) use(c *tls.Certificate) {
	s.current.Store(c)
	s.o.Log.Info("serving certificate is signed", slog.Time("until", c.Leaf.NotAfter))
}

// Poke says that the addresses of the node may have changed. It never blocks.
func (s *Serving) Poke() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// Run asks for certificates until ctx ends.
func (s *Serving) Run(ctx context.Context, client kubernetes.Interface) error {
	for ctx.Err() == nil {
		if err := s.keep(ctx, client, s.template()); err != nil {
			return fmt.Errorf("keep serving certificate: %w", err)
		}
	}
	return nil
}

// keep asks for certificates of one kind, until another is to be asked for or ctx ends.
// A manager of client-go would find out by itself, and look every second.
func (s *Serving) keep(ctx context.Context, client kubernetes.Interface, template *x509.CertificateRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if template != nil {
		manager, err := certificate.NewManager(&certificate.Config{
			ClientsetFn: func(*tls.Certificate) (kubernetes.Interface, error) { return client, nil },
			Template:    template, SignerName: certificatesv1.KubeletServingSignerName,
			GetUsages: certificate.DefaultKubeletServingGetUsages, CertificateStore: s.store,
			CertificateRenewFailure: s.o.Failed, CertificateRotation: s.o.Lived, Ctx: logging(ctx, s.o.Log),
		})
		if err != nil {
			return err
		}
		manager.Start()
	}
	for reflect.DeepEqual(template, s.template()) {
		select {
		case <-ctx.Done():
			return nil
		case <-s.poke:
		}
	}
	return nil
}

// template returns what to ask for, nil while the node has no IP.
func (s *Serving) template() *x509.CertificateRequest {
	names, ips := sans(s.o.Addresses())
	if len(ips) == 0 {
		return nil
	}
	return &x509.CertificateRequest{Subject: subject(s.o.Node), DNSNames: names, IPAddresses: ips}
}

// sans returns the names and IPs among the addresses of a node, in order.
func sans(addresses []v1.NodeAddress) (names []string, ips []net.IP) {
	seen, seenIPs := map[string]bool{}, map[string]netip.Addr{}
	for _, a := range addresses {
		ip, err := netip.ParseAddr(a.Address)
		switch {
		case err == nil:
			seenIPs[ip.String()] = ip
		case a.Address == "":
		case a.Type == v1.NodeHostName, a.Type == v1.NodeInternalDNS, a.Type == v1.NodeExternalDNS:
			seen[a.Address] = true
		}
	}
	for _, text := range slices.Sorted(maps.Keys(seenIPs)) {
		ips = append(ips, net.IP(seenIPs[text].AsSlice()))
	}
	return slices.Sorted(maps.Keys(seen)), ips
}
