// Package discovery finds the cluster that a node is to join, makes sure that it
// is the one that was meant, and reads what it tells those who join.
//
// It decides whom to trust: an API server that shows an authority whose hash was
// pinned, or that knows the token, or that a kubeconfig of the user's names. It
// only reads. What is made of what it finds is left to the caller.
package discovery

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/config"
)

// Options say which cluster is meant.
type Options struct {
	Config *config.Join
	// Kubeconfig is where this node keeps its own access to a cluster, if it is a
	// node already: /etc/kubernetes/kubelet.conf.
	Kubeconfig string

	now func() time.Time // another clock, in tests
}

// A Cluster is one that was found and is trusted.
type Cluster struct {
	// Server is the URL of the API server that answered.
	Server string
	// CA are the certificates of the cluster's authority, in PEM.
	CA []byte
	// Shared is what the cluster tells those who join.
	Shared config.Shared
	// Joined says that this node has a certificate of the cluster's already.
	Joined bool

	login clientcmdapi.AuthInfo
}

// Find looks for the cluster until it is found, it is clear that it will not be,
// or timeouts.discovery is over. To read what it tells those who join takes
// timeouts.kubernetesAPICall at most: who was found may be slow. Every error has a
// hint and is one of Err….
func Find(ctx context.Context, o Options) (*Cluster, error) {
	if o.now == nil {
		o.now = time.Now
	}
	own, err := readOwn(o.Kubeconfig, o.Config.Join.NodeRegistration.Name, o.now())
	if err != nil {
		return nil, err
	}
	timeouts := o.Config.Join.Timeouts
	finding, cancel := context.WithTimeout(ctx, timeouts.Discovery.Duration)
	defer cancel()
	c, err := o.find(finding, own)
	if err != nil {
		return nil, err
	}
	reading, cancel := context.WithTimeout(ctx, timeouts.KubernetesAPICall.Duration)
	defer cancel()
	return c, c.read(reading, o)
}

// find finds the cluster, as a stranger or as the node that this host has become
// earlier: then it needs no token any more, and the same command goes on where it
// ended, also when the token has.
func (o Options) find(ctx context.Context, own past) (*Cluster, error) {
	d := o.Config.Join.Discovery
	var c *Cluster
	var err error
	switch {
	case d.File != nil:
		c, err = o.byFile(ctx, d.File.KubeConfigPath)
	case own.login != nil:
		c, err = o.byOwn(ctx, d.BootstrapToken, own)
	default:
		c, err = o.byToken(ctx, d.BootstrapToken)
	}
	switch {
	case err != nil:
		return nil, err
	case own.ca != nil && !SameAuthority(own.ca, c.CA):
		return nil, fail(ErrMember, "this host is a node of another cluster than the one at "+c.Server, resetFirst)
	case own.login != nil:
		c.Joined, c.login = true, *own.login
	case d.TLSBootstrapToken != "":
		c.login = clientcmdapi.AuthInfo{Token: d.TLSBootstrapToken.Reveal()}
	}
	return c, nil
}

// Config returns how to reach the API server that answered: as the node, if it
// has joined before, else as the bearer of the token.
func (c *Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.NewDefaultClientConfig(c.kubeconfig(c.Server, ""), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("use the access to %s: %w", c.Server, err)
	}
	config.Timeout = callTimeout
	config.QPS = -1 // what is asked for is little
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// Kubeconfig returns a kubeconfig with which the node can ask for a certificate,
// for an API that is reached at server and, if serverName is not empty, shows a
// certificate for that name.
func (c *Cluster) Kubeconfig(server, serverName string) ([]byte, error) {
	return clientcmd.Write(c.kubeconfig(server, serverName))
}

func (c *Cluster) kubeconfig(server, serverName string) clientcmdapi.Config {
	const user, at = "tls-bootstrap-token-user", "tls-bootstrap-token-user@kubernetes"
	return clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{config.DefaultClusterName: {
			Server: server, TLSServerName: serverName, CertificateAuthorityData: c.CA,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: &c.login},
		Contexts:       map[string]*clientcmdapi.Context{at: {Cluster: config.DefaultClusterName, AuthInfo: user}},
		CurrentContext: at,
	}
}

// Host returns the host and port of the server.
func (c *Cluster) Host() string {
	u, err := url.Parse(c.Server)
	if err != nil {
		return "" // it has been talked to
	}
	return u.Host
}

// pollInterval is the pause between two attempts.
const pollInterval = 500 * time.Millisecond

// until repeats try until it succeeds, its error is final, or ctx ends. The last
// error says why it came to nothing.
func until[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		got, err := try(ctx)
		if err == nil {
			return got, nil
		}
		if again := (passing{}); !errors.As(err, &again) {
			return got, err
		}
		// An attempt that was cut off knows less than the one before it.
		if ctx.Err() == nil || last == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return got, last
		}
	}
}
