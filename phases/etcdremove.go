package phases

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
)

// EtcdOptions are how a node finds the etcd of its cluster.
type EtcdOptions struct {
	// Manifests is the directory of the static pods, where that of etcd tells
	// where it is reached, with what certificates, and who its peers were.
	Manifests string
	// CertDir is the directory of the PKI, for a node without a manifest of etcd.
	CertDir string
	// Endpoints are client URLs to ask before any other.
	Endpoints []string
}

// EtcdCluster returns a client of the etcd that this node's control plane uses,
// which any of its members answers. The caller closes it.
func EtcdCluster(o EtcdOptions) (*etcd.Cluster, error) {
	pod, err := readPod(filepath.Join(o.Manifests, config.ComponentEtcd+".yaml"))
	if err != nil {
		return nil, err
	}
	tree, urls := certs.Tree(o.CertDir), o.Endpoints
	if pod != nil {
		urls = slices.Concat(urls, clientURLs(pod), peersClientURLs(pod))
		if dir := volumePath(pod, etcdCerts); dir != "" {
			tree = certs.Tree(filepath.Dir(dir))
		}
	}
	if len(urls) == 0 {
		return nil, hint.With(errors.New("this node has no etcd"), "run this on a control-plane node, or name a member with --endpoints")
	}
	c, err := etcdCluster(tree, slices.Compact(urls))
	if err != nil {
		return nil, hint.With(err, "run this on a control-plane node, as root")
	}
	return c, nil
}

// EtcdRemoval is a member to take out of the cluster from another node.
type EtcdRemoval struct {
	Cluster *etcd.Cluster
	Member  etcd.Member
	// Force also removes a member that runs and is well.
	Force bool
	// Timeout bounds the attempts.
	Timeout time.Duration
}

// Plan implements [Phase]. A member that is well is for its own node to remove:
// an API server that has lost its etcd is of no use to anybody.
func (r EtcdRemoval) Plan(ctx context.Context) ([]Change, error) {
	limited, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	members, err := r.Cluster.Members(limited)
	if err != nil {
		return nil, hint.With(err, "it takes a majority of the members to remove one: start those that have stopped")
	}
	all := r.Cluster.Statuses(limited, members)
	i := slices.IndexFunc(all, func(s etcd.Status) bool { return s.ID == r.Member.ID })
	if i < 0 {
		return nil, nil
	}
	if err := etcd.Removable(all, r.Member.ID); err != nil {
		return nil, fmt.Errorf("remove %s: %w", r.Member, err)
	}
	if all[i].Err == nil && !r.Force {
		return nil, hint.With(fmt.Errorf("%s is running and well", r.Member),
			"'boot reset' on its node takes all of it down in order; with --force it is removed and its node left as it is")
	}
	others := slices.Delete(slices.Clone(members), i, i+1)
	return []Change{{
		fmt.Sprintf("remove %s (%s) from the etcd cluster it is in with %s", r.Member, r.Member.HexID(), etcd.Names(others)),
		r.remove,
	}}, nil
}

func (r EtcdRemoval) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("gave up after %s", r.Timeout))
	defer cancel()
	return r.Cluster.Remove(ctx, r.Member.ID)
}
