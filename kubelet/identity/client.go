// Package identity is who the node is to others: the certificate by which the
// API server knows it, and the one by which it is known to whoever calls it.
//
// It decides where both are from and keeps them fresh: from files, or by
// requests that the cluster signs, made anew before they end. What is done with
// them is left to others.
package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"
)

// ClientOptions say how to reach the API server, and as whom.
type ClientOptions struct {
	Kubeconfig string
	// Bootstrap is a kubeconfig with which a certificate is asked for where
	// Kubeconfig has no valid one: --bootstrap-kubeconfig. May be empty.
	Bootstrap string
	// CertDir is where such certificates are kept: /var/lib/kubelet/pki.
	CertDir string
	Node    string
	// Rotate asks for another certificate before this one ends.
	Rotate    bool
	QPS       float32 // kubeAPIQPS; 0 is that of the kubelet, below 0 no limit
	Burst     int     // kubeAPIBurst
	UserAgent string
	// Wrap is put around what sends requests. May be nil.
	Wrap transport.WrapperFunc
	// Waiting is called with each new reason for which there is no client yet.
	// May be nil.
	Waiting func(error)
	// Failed counts requests for a certificate that came to nothing. May be nil.
	Failed Counter
	Log    *slog.Logger
}

// A Counter counts.
type Counter interface{ Inc() }

// What the kubelet allows itself.
const (
	defaultQPS   = 50
	defaultBurst = 100

	protobuf = "application/vnd.kubernetes.protobuf"
)

// A Client reaches the API server as the node.
type Client struct {
	Config *rest.Config
	API    kubernetes.Interface
	held   *holder // nil where the certificate is not the node's own to renew
}

// Certificate returns the certificate that is used now, nil if it is not known:
// one of a file that others keep.
func (c *Client) Certificate() *tls.Certificate {
	if c.held == nil {
		return nil
	}
	return c.held.current.Load()
}

// NewClient waits until there is a usable kubeconfig, and with it a certificate,
// and returns a client made of it. Certificates that are renewed, here or in the
// files it names, are used from then on, until ctx ends. The only error is that
// of ctx.
func NewClient(ctx context.Context, o ClientOptions) (*Client, error) {
	var client *Client
	var login *rest.Config // with which certificates are asked for
	try := o.saying(func() (err error) {
		client, login, err = connect(o)
		return err
	})
	paths := []string{o.Kubeconfig}
	if o.Bootstrap != "" {
		paths = append(paths, o.Bootstrap)
	}
	if err := await(ctx, paths, try); err != nil {
		return nil, fmt.Errorf("wait for %s: %w", o.Kubeconfig, err)
	}
	if login == nil {
		return client, nil
	}
	return o.renewing(ctx, client.Config, login)
}

// saying returns what tries until it succeeds, telling each reason once.
func (o ClientOptions) saying(try func() error) func() bool {
	said := ""
	return func() bool {
		err := try()
		if err != nil && o.Waiting != nil && err.Error() != said {
			said = err.Error()
			o.Waiting(err)
		}
		return err == nil
	}
}

// connect makes a client of the kubeconfig as it is now. If its certificate is
// to be renewed, or is not there yet, login says with what to ask.
func connect(o ClientOptions) (client *Client, login *rest.Config, err error) {
	config, err := o.read(o.Kubeconfig)
	switch {
	case o.Bootstrap != "" && (err != nil || expired(config)):
		if login, err = o.read(o.Bootstrap); err != nil {
			return nil, nil, err
		}
		if config, err = o.refer(login); err != nil {
			return nil, nil, err
		}
		return &Client{Config: config}, login, nil
	case err != nil:
		return nil, nil, err
	case o.Rotate && (config.CertFile != "" || len(config.CertData) > 0):
		return &Client{Config: config}, config, nil
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("use kubeconfig %s: %w", o.Kubeconfig, err)
	}
	return &Client{Config: config, API: api}, nil, nil
}

// read reads a kubeconfig.
func (o ClientOptions) read(path string) (*rest.Config, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("no kubeconfig yet: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %s: %w", path, err)
	}
	o.tune(config)
	return config, nil
}

func (o ClientOptions) tune(config *rest.Config) {
	config.QPS, config.Burst = o.QPS, o.Burst
	if config.QPS == 0 {
		config.QPS = defaultQPS
	}
	if config.Burst == 0 {
		config.Burst = defaultBurst
	}
	config.UserAgent, config.WrapTransport = o.UserAgent, o.Wrap
	config.ContentType, config.AcceptContentTypes = protobuf, protobuf+",application/json"
}

// renewing returns a client that uses the certificate there is, asks with login
// for one if there is none, and renews it.
func (o ClientOptions) renewing(ctx context.Context, config, login *rest.Config) (*Client, error) {
	held, err := newHolder(o, config)
	if err != nil {
		return nil, err
	}
	config, err = held.transport(config)
	if err != nil {
		return nil, err
	}
	api, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("use kubeconfig %s: %w", o.Kubeconfig, err)
	}
	client := &Client{Config: config, API: api, held: held}
	if err := held.start(ctx, client, login); err != nil {
		return nil, err
	}
	select {
	case <-held.first:
		return client, nil
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), errors.New("wait for a certificate"))
	}
}
