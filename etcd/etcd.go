// Package etcd knows and changes who is a member of the cluster's etcd, as a
// client with the certificates of a control-plane node.
//
// The package decides how a change of members is made safe: a new one is a
// learner until it is in sync, one is only removed while the others keep their
// quorum, and every change is looked for before it is made and verified after.
// So each can be repeated, whatever became of the attempt before. When members
// come and go, and what runs them, is left to the caller.
//
//	        AddLearner             Promote
//	(none) ───────────► learner ────────────► voter
//	   ▲                   │ Remove             │ Remove, if the rest is a quorum
//	   └───────────────────┴────────────────────┘
//
// Each endpoint has a client of etcd's own: which of several to ask, and what an
// answer of one is worth, is a decision of this package, which a balancer among
// them would take away.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// callTimeout is how long one endpoint may take to answer before the next is
// asked.
const callTimeout = 5 * time.Second

// retryInterval is how often what failed is tried again. etcd has no event for
// any of what is waited for here.
const retryInterval = 250 * time.Millisecond

// Options are how to reach an etcd cluster.
type Options struct {
	// Endpoints are client URLs of members: "https://192.0.2.10:2379". One that
	// answers is enough.
	Endpoints []string
	// CA, Cert and Key are files: etcd's authority, and the identity of a client
	// that it has signed.
	CA, Cert, Key string
}

// A Cluster is a client of all members of an etcd cluster. It may be used by
// several goroutines, and is to be closed.
type Cluster struct {
	identity *tls.Config

	mu        sync.Mutex
	endpoints []string // those that answered last come first
	clients   map[string]*clientv3.Client
}

// New reads the client's identity. It dials nobody yet.
func New(o Options) (*Cluster, error) {
	if len(o.Endpoints) == 0 {
		return nil, errors.New("no endpoint of etcd is known")
	}
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("read the identity of etcd's client: %w", err)
	}
	ca, err := os.ReadFile(o.CA)
	if err != nil {
		return nil, fmt.Errorf("read etcd's CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("read etcd's CA: %s holds no certificate", o.CA)
	}
	return &Cluster{
		identity:  &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots},
		endpoints: slices.Clone(o.Endpoints),
		clients:   map[string]*clientv3.Client{},
	}, nil
}

// Close ends all connections.
func (c *Cluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, client := range c.clients {
		errs = append(errs, client.Close())
	}
	clear(c.clients)
	return errors.Join(errs...)
}

// client returns the client of an endpoint. A connection that broke is dialled at
// once: whoever asks again has waited long enough.
func (c *Cluster) client(endpoint string) (*clientv3.Client, error) {
	if err := checkURL(endpoint); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if client, ok := c.clients[endpoint]; ok {
		if conn := client.ActiveConnection(); conn.GetState() == connectivity.TransientFailure {
			conn.ResetConnectBackoff()
		}
		return client, nil
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint}, TLS: c.identity, Logger: zap.NewNop(),
		// What is tried again, and where, is decided here.
		MaxUnaryRetries: 1, DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(impatient)},
	})
	if err != nil {
		return nil, err
	}
	c.clients[endpoint] = client
	return client, nil
}

// impatient makes a call of somebody fail whom nobody listens to, with the reason,
// where etcd's client would wait for time to be up.
func impatient(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

func checkURL(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("read the URL of an etcd member: %w", err)
	}
	if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Scheme != "https" {
		return fmt.Errorf("%q is not the URL of an etcd member, which is https://HOST:PORT", endpoint)
	}
	return nil
}

// askAny calls do with one endpoint after another, until one answers. The error
// is that of all.
func (c *Cluster) askAny(ctx context.Context, do func(context.Context, *clientv3.Client) error) error {
	c.mu.Lock()
	endpoints := slices.Clone(c.endpoints)
	c.mu.Unlock()
	var errs []error
	for _, endpoint := range endpoints {
		err := c.askOne(ctx, endpoint, do)
		switch {
		case err == nil:
			c.prefer(endpoint)
			return nil
		case final(err):
			return err
		}
		errs = append(errs, fmt.Errorf("%s: %w", endpoint, err))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// askOne calls do with one endpoint, for as long as a call may take. The errors
// of etcd are those of rpctypes.
func (c *Cluster) askOne(ctx context.Context, endpoint string, do func(context.Context, *clientv3.Client) error) error {
	client, err := c.client(endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return rpctypes.Error(do(ctx, client))
}

// final errors are the answer of the cluster, whichever endpoint is asked.
func final(err error) bool {
	return slices.ContainsFunc([]error{
		rpctypes.ErrMemberNotFound, rpctypes.ErrPeerURLExist, rpctypes.ErrMemberExist, rpctypes.ErrMemberBadURLs,
		rpctypes.ErrMemberLearnerNotReady, rpctypes.ErrMemberNotLearner, rpctypes.ErrTooManyLearners,
		rpctypes.ErrUnhealthy, rpctypes.ErrMemberNotEnoughStarted,
	}, func(known error) bool { return errors.Is(err, known) })
}

// prefer has an endpoint asked first from now on.
func (c *Cluster) prefer(endpoint string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.endpoints, endpoint); i > 0 {
		c.endpoints = slices.Insert(slices.Delete(c.endpoints, i, i+1), 0, endpoint)
	}
}

// learn adds the endpoints of members, so that one of them may go.
func (c *Cluster) learn(members []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range members {
		for _, u := range m.ClientURLs {
			if !m.Learner && !slices.Contains(c.endpoints, u) {
				c.endpoints = append(c.endpoints, u)
			}
		}
	}
}

// until tries again and again until try says that it is done, which returns its
// error. An attempt that went well is followed by the next at once: that is the
// look at what it came to. When ctx ends, the last error that says something tells
// why it was not done.
func until(ctx context.Context, try func(context.Context) (done bool, err error)) error {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	var last error
	for {
		done, err := try(ctx)
		switch {
		case done:
			return err
		case err == nil && ctx.Err() == nil:
			continue
		}
		// An attempt that was cut off knows less than the one before it. The other
		// end knows the deadline, too, and may be faster to say that it is over.
		if err != nil && (last == nil || ctx.Err() == nil && status.Code(err) != codes.DeadlineExceeded) {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), last)
		}
	}
}
