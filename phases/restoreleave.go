package phases

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
)

// aloneTimeout is how long it may take to take all other members out of etcd.
const aloneTimeout = 2 * time.Minute

// leave takes the other members out of etcd, while there is a majority to do so:
// they end, so that nobody goes on with the data of now beside this node with that
// of then, and whoever used their API servers comes to this node's.
func (r inPlace) leave(ctx context.Context) ([]Change, error) {
	if !r.NewCluster || !exists(r.path(config.ComponentEtcd)) || exists(r.asideOf(config.ComponentEtcd)) {
		return nil, nil // nobody is left behind, or a run that was killed has been further
	}
	self, rest, err := r.members(ctx)
	if err != nil {
		warn(ctx, fmt.Sprintf("other members of etcd, if there are any, cannot be taken out of it: have their nodes reset before they come back, for until then their API servers show what was: %v", err))
		return nil, nil
	}
	if len(rest) == 0 {
		return nil, nil
	}
	return []Change{{
		"take " + etcd.Names(rest) + " out of etcd, so that nobody goes on with what was",
		func(ctx context.Context) error { return r.leaveAll(ctx, self) },
	}}, nil
}

// members tells this node's member, which has to be well, from the others.
func (r inPlace) members(ctx context.Context) (self etcd.Member, rest []etcd.Member, err error) {
	c, err := EtcdCluster(EtcdOptions{Manifests: r.Rollout.Manifests})
	if err != nil {
		return self, nil, err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	all, err := c.Members(ctx)
	if err != nil {
		return self, nil, err
	}
	self, is := etcd.At(all, r.member.peerURL)
	if !is {
		return self, nil, fmt.Errorf("%s is no member", r.member.name)
	}
	rest = slices.DeleteFunc(all, func(m etcd.Member) bool { return m.ID == self.ID })
	return self, rest, c.Statuses(ctx, []etcd.Member{self})[0].Err
}

func (r inPlace) leaveAll(ctx context.Context, self etcd.Member) error {
	c, err := EtcdCluster(EtcdOptions{Manifests: r.Rollout.Manifests})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, aloneTimeout, fmt.Errorf("gave up after %s", aloneTimeout))
	defer cancel()
	if err := c.Alone(ctx, self.ID); err != nil {
		return hint.With(err, "nothing has been stopped; run this again: where etcd has no majority any more, it goes ahead without")
	}
	return nil
}

// OtherControlPlanes names the Nodes of control planes that a snapshot of etcd has,
// but for one node. They have no part in a cluster that begins anew with that.
func OtherControlPlanes(snapshot, node string) ([]string, error) {
	values, err := etcd.SnapshotUnder(snapshot, nodeKeys)
	if err != nil {
		return nil, err
	}
	var names []string
	for key, value := range values {
		var n corev1.Node
		if err := decodeStored(value, &n); err != nil {
			return nil, fmt.Errorf("read Node %s in the snapshot: %w", strings.TrimPrefix(key, nodeKeys), err)
		}
		if _, is := n.Labels[roleLabel]; is && n.Name != node {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
