package kubelet

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"boot.internal/backoff"
	"boot.internal/balancer"
	"boot.internal/config"
	"boot.internal/kubelet/follow"
)

// serversFile is where API servers are remembered, in the directory of what boot
// remembers.
const serversFile = "apiservers.json"

// apiService is the Service whose endpoints the API servers are.
const apiService = "kubernetes"

// newBalancer begins to listen for those who want to reach the API, if it is for
// the node to choose among its servers. That comes before everything else: who
// is refused waits.
func (k *kubelet) newBalancer(ctx context.Context) {
	if len(k.o.APIServers) == 0 && !k.reliesOnBalancer() || k.o.Kubeconfig == "" {
		return
	}
	port := strconv.Itoa(config.LocalAPIPort)
	k.balancer = balancer.New(balancer.Options{
		Node: k.o.Node, Seeds: k.o.APIServers, File: filepath.Join(k.o.StateDir, serversFile),
		Listen: []string{net.JoinHostPort(config.LoopbackIPv4, port), net.JoinHostPort(config.LoopbackIPv6, port)},
		Roots:  k.apiRoots, Log: k.o.Logger,
	})
	k.balancer.Listen(ctx)
}

// reliesOnBalancer says whether the kubeconfig leads to the balancer, which then
// has to be there, if only with the servers it remembers.
func (k *kubelet) reliesOnBalancer() bool {
	access, err := clientcmd.BuildConfigFromFlags("", k.o.Kubeconfig)
	if err != nil { // there is none yet
		return false
	}
	u, err := url.Parse(access.Host)
	return err == nil && u.Port() == strconv.Itoa(config.LocalAPIPort) && (u.Hostname() == config.LoopbackIPv4 || u.Hostname() == config.LoopbackIPv6)
}

// balance forwards connections to the API until ctx ends.
func (k *kubelet) balance(ctx context.Context) {
	if k.balancer != nil {
		k.balancer.Run(ctx)
	}
}

// apiRoots returns whom the node trusts to say who is an API server.
func (k *kubelet) apiRoots() (*x509.CertPool, error) {
	access, err := clientcmd.BuildConfigFromFlags("", k.o.Kubeconfig)
	if err != nil && k.o.BootstrapKubeconfig != "" {
		access, err = clientcmd.BuildConfigFromFlags("", k.o.BootstrapKubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("no kubeconfig yet: %w", err)
	}
	// Only the authority counts: there may be no certificate yet.
	access = rest.AnonymousClientConfig(access)
	if err := rest.LoadTLSFiles(access); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(access.CAData)
	return roots, nil
}

// followServers learns of API servers that come and go.
func (k *kubelet) followServers(ctx context.Context, g *errgroup.Group, client kubernetes.Interface) {
	if k.balancer == nil {
		return
	}
	refused := make(chan struct{}, 1)
	g.Go(func() error {
		slices := client.DiscoveryV1().EndpointSlices(metav1.NamespaceDefault)
		follow.Run(ctx, slices, &discoveryv1.EndpointSlice{}, sliceStore{k.balancer}, follow.Options{
			Name: "API servers", Fields: follow.Field("metadata.name", apiService), Cap: time.Minute,
			Failed: func(err error) { k.serversFailed(err, refused) },
		})
		return nil
	})
	g.Go(func() error {
		select {
		case <-refused:
			k.askServers(ctx, client)
		case <-ctx.Done():
		}
		return nil
	})
}

func (k *kubelet) serversFailed(err error, refused chan<- struct{}) {
	k.o.Logger.Warn("cannot list API servers", slog.Any("err", err))
	if apierrors.IsForbidden(err) {
		select {
		case refused <- struct{}{}:
		default:
		}
	}
}

// askServers asks now and then. In a cluster that boot did not make nodes may not
// have the right to be told, but they have this one.
func (k *kubelet) askServers(ctx context.Context, client kubernetes.Interface) {
	const pause = 30 * time.Second
	for ok := true; ok; ok = backoff.Sleep(ctx, pause) {
		e, err := client.CoreV1().Endpoints(metav1.NamespaceDefault).Get(ctx, apiService, metav1.GetOptions{})
		if err != nil {
			k.o.Logger.Debug("cannot ask for API servers", slog.Any("err", err))
			continue
		}
		k.balancer.Learn(addressesOfEndpoints(e))
	}
}

// addressesOfEndpoints returns "host:port" of each.
//
//nolint:staticcheck // what nodes may read has been replaced by what they may not
func addressesOfEndpoints(e *v1.Endpoints) (all []string) {
	for _, set := range e.Subsets {
		for _, port := range set.Ports {
			for _, a := range set.Addresses {
				all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(int(port.Port))))
			}
		}
	}
	return all
}

// addressesOfSlice returns "host:port" of each.
func addressesOfSlice(s *discoveryv1.EndpointSlice) (all []string) {
	for _, port := range s.Ports {
		for _, e := range s.Endpoints {
			if port.Port == nil || len(e.Addresses) == 0 || e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			// Further addresses mean the same as the first, by definition.
			all = append(all, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*port.Port))))
		}
	}
	return all
}

// A sliceStore is what client-go's reflector writes the one slice to.
type sliceStore struct{ b *balancer.Balancer }

// Add takes the slice.
func (s sliceStore) Add(obj any) error { return s.Update(obj) }

// Update takes the slice.
func (s sliceStore) Update(obj any) error {
	if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
		s.b.Learn(addressesOfSlice(slice))
	}
	return nil
}

// Delete changes nothing: the API server that has told it is there.
func (sliceStore) Delete(any) error { return nil }

// Replace takes what there is: one slice or none.
func (s sliceStore) Replace(list []any, _ string) error {
	for _, obj := range list {
		_ = s.Update(obj) // never fails
	}
	return nil
}

// Resync has no meaning for this store.
func (sliceStore) Resync() error { return nil }

// serverFigures are what is known of the API servers, when somebody asks.
type serverFigures struct{ b *balancer.Balancer }

//nolint:gochecknoglobals // descriptions are constant
var (
	descServer      = prometheus.NewDesc("boot_api_server_ready", "Whether an API server is ready, as this node sees it.", []string{"server"}, nil)
	descConnections = prometheus.NewDesc("boot_api_server_connections", "Connections of this node to an API server.", []string{"server"}, nil)
	descSwitches    = prometheus.NewDesc("boot_api_server_switches_total", "Times that this node went over to another API server.", nil, nil)
)

// Describe names the metrics.
func (serverFigures) Describe(to chan<- *prometheus.Desc) {
	to <- descServer
	to <- descConnections
	to <- descSwitches
}

// Collect looks.
func (f serverFigures) Collect(to chan<- prometheus.Metric) {
	if f.b == nil {
		return
	}
	servers, switches := f.b.Servers()
	for _, s := range servers {
		ready := 0
		if s.Health == balancer.Ready {
			ready = 1
		}
		to <- gauge(descServer, ready, s.Address)
		to <- gauge(descConnections, s.Connections, s.Address)
	}
	to <- prometheus.MustNewConstMetric(descSwitches, prometheus.CounterValue, float64(switches))
}
