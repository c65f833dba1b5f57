package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"boot.internal/certs"
	"boot.internal/config"
)

// probeTimeout bounds one request: an answer that takes longer is no health.
const probeTimeout = 5 * time.Second

// A probe asks one component whether it is healthy, and returns why not.
type probe struct {
	pod string
	ask func(context.Context) error
}

// probes are the health endpoints of the control plane, in the order in which
// it comes up.
func probes(cfg *config.Init, api apiServer, tree certs.Paths) []probe {
	var all []probe
	if cfg.Cluster.Etcd.Local != nil {
		all = append(all, probe{config.ComponentEtcd, func(ctx context.Context) error { return askEtcd(ctx, etcdHealth(cfg), tree) }})
	}
	return append(all,
		probe{config.ComponentAPIServer, func(ctx context.Context) error { return askAPIServer(ctx, api) }},
		probe{config.ComponentControllerManager, local(cfg.Cluster.ControllerManager.ExtraArgs, "10257")},
		probe{config.ComponentScheduler, local(cfg.Cluster.Scheduler.ExtraArgs, "10259")},
	)
}

// etcdHealth is where this node's member answers whether there is a leader to
// write through: at the first address it listens on for clients.
func etcdHealth(cfg *config.Init) string {
	if urls, ok := config.ArgValue(cfg.Cluster.Etcd.Local.ExtraArgs, "listen-client-urls"); ok {
		first, _, _ := strings.Cut(urls, ",")
		return strings.TrimSuffix(first, "/") + "/health"
	}
	host := "127.0.0.1"
	if a, err := netip.ParseAddr(cfg.Init.LocalAPIEndpoint.AdvertiseAddress); err == nil && a.Is6() {
		host = "::1"
	}
	return "https://" + net.JoinHostPort(host, "2379") + "/health"
}

// askEtcd asks as etcd's own clients do.
func askEtcd(ctx context.Context, url string, tree certs.Paths) error {
	pair, err := tls.LoadX509KeyPair(tree.EtcdHealthcheckClient.Cert, tree.EtcdHealthcheckClient.Key)
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(tree.EtcdCA.Cert)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}}
	defer transport.CloseIdleConnections()
	return ask(ctx, transport, url)
}

// askAPIServer asks first whether it lives and then whether it is ready: what
// keeps it from the one is not what keeps it from the other.
func askAPIServer(ctx context.Context, api apiServer) error {
	c, err := api.config()
	if err != nil {
		return err
	}
	transport, err := rest.TransportFor(c)
	if err != nil {
		return err
	}
	if err := ask(ctx, transport, api.url+"/livez"); err != nil {
		return err
	}
	return ask(ctx, transport, api.url+"/readyz")
}

// local asks a component that serves its health on the loopback interface, with
// a certificate it made up itself.
func local(args []config.Arg, port string) func(context.Context) error {
	host := "127.0.0.1"
	if address, ok := config.ArgValue(args, "bind-address"); ok && address != "0.0.0.0" && address != "::" {
		host = address
	}
	if p, ok := config.ArgValue(args, "secure-port"); ok {
		port = p
	}
	url := "https://" + net.JoinHostPort(host, port) + "/healthz"
	return func(ctx context.Context) error {
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // self-signed, and on loopback
		defer transport.CloseIdleConnections()
		return ask(ctx, transport, url)
	}
}

func ask(ctx context.Context, transport http.RoundTripper, url string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("get %s: %w", url, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	return errors.Join(fmt.Errorf("get %s: %s: %s", url, strconv.Itoa(response.StatusCode), failing(string(body))), err)
}

// failing picks the checks that fail, "[-]etcd failed: …", out of the verbose
// answer of a Kubernetes component; any other answer is told in one line.
func failing(body string) string {
	var bad []string
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "[-]") {
			bad = append(bad, strings.TrimSpace(line))
		}
	}
	if len(bad) > 0 {
		return strings.Join(bad, ", ")
	}
	return strings.Join(strings.Fields(body), " ")
}
