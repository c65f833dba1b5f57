package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"boot.internal/atomicfile"
	"boot.internal/discovery"
	"boot.internal/hint"
)

// A joinAccess is with what the loop of a new node reaches the cluster: the
// authority to trust and, until it has a certificate, the bearer's token.
type joinAccess struct {
	cluster    *discovery.Cluster
	node       string
	endpoint   endpoint
	caPath     string
	bootstrap  string // bootstrap-kubelet.conf
	kubeconfig string // kubelet.conf, which the loop writes
}

// Plan implements Phase.
func (p joinAccess) Plan(context.Context) ([]Change, error) {
	ca, err := planFile(p.caPath, p.cluster.CA, 0o644)
	if err != nil {
		return nil, err
	}
	joined, err := p.joined()
	if err != nil || joined {
		return ca, err
	}
	conf, err := p.cluster.Kubeconfig(p.endpoint.server, p.endpoint.serverName)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", p.bootstrap, err)
	}
	bootstrap, err := planFile(p.bootstrap, conf, 0o600)
	return slices.Concat(ca, bootstrap), err
}

// joined tells whether the node has a certificate that the cluster signed.
func (p joinAccess) joined() (bool, error) {
	return discovery.Joined(p.kubeconfig, p.node, p.cluster.CA)
}

// A joinWait waits until the node has its certificate, and takes the token from
// the disk then.
type joinWait struct {
	joinAccess
	timeout time.Duration
	service Service
}

// Plan implements Phase.
func (p joinWait) Plan(context.Context) ([]Change, error) {
	joined, err := p.joined()
	if err != nil {
		return nil, err
	}
	var changes []Change
	if !joined {
		changes = append(changes, Change{"wait for the certificate of node " + p.node, p.wait})
	}
	left, err := atomicfile.Leftovers(p.bootstrap) // a token is in them all the same
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(p.bootstrap); err == nil || !joined {
		left = append(left, p.bootstrap)
	}
	for _, path := range left {
		changes = append(changes, Change{"remove " + path, func(context.Context) error {
			if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return nil
		}})
	}
	return changes, nil
}

func (p joinWait) wait(ctx context.Context) error {
	err := until(ctx, p.timeout, func(ctx context.Context) (bool, error) {
		joined, err := p.joined()
		if joined || err != nil {
			return true, err
		}
		running, err := p.service.Running(ctx)
		switch {
		case err != nil:
			return false, fmt.Errorf("look for the kubelet loop: %w", err)
		case !running:
			return false, errors.New("the kubelet loop, which asks for it, does not run")
		}
		return false, errors.New("the cluster has not signed it")
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	return hint.With(err, "look at the requests on a control plane: kubectl get certificatesigningrequests; the kube-controller-manager there approves and signs them")
}
