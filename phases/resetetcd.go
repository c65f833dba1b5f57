package phases

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/hint"
)

// lookTimeout is how long etcd may take to tell its members: some of those that are
// asked may be dead.
const lookTimeout = 30 * time.Second

// A removeMember takes this node's etcd out of the cluster it is a member of,
// unless it is the only one.
type removeMember struct {
	manifest string
	timeout  time.Duration
}

func (r reset) member() Phase {
	m := removeMember{manifest: r.manifest(config.ComponentEtcd)}
	if t := r.Config.Timeouts; t != nil {
		m.timeout = limit(t.EtcdAPICall)
	}
	return m
}

// Plan implements Phase. An etcd that does not answer is no reason not to reset
// its node: it may never answer again.
func (m removeMember) Plan(ctx context.Context) ([]Change, error) {
	pod, err := readPod(m.manifest)
	if err != nil || pod == nil || !exists(filepath.Join(volumePath(pod, etcdData), "member")) {
		return nil, err
	}
	self, others, err := m.look(ctx, pod)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		warn(ctx, fmt.Sprintf("etcd does not tell its members; if there are others, remove this one there, with 'boot etcd remove': %v", err))
		return nil, nil
	}
	if self.ID == 0 || !slices.ContainsFunc(others, func(o etcd.Member) bool { return !o.Learner }) {
		return nil, nil
	}
	return []Change{{
		fmt.Sprintf("remove %s (%s) from the etcd cluster it is in with %s", self, self.HexID(), etcd.Names(others)),
		func(ctx context.Context) error { return m.remove(ctx, pod, self, others) },
	}}, nil
}

// look asks for the members: this one, which is nobody if it has been removed,
// and the others. This node's own etcd may not run, or have no say.
func (m removeMember) look(ctx context.Context, pod *corev1.Pod) (self etcd.Member, others []etcd.Member, err error) {
	cluster, err := clusterOf(pod, slices.Concat(clientURLs(pod), peersClientURLs(pod)))
	if err != nil {
		return self, nil, err
	}
	defer func() { _ = cluster.Close() }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	members, err := cluster.Members(ctx)
	for _, e := range members {
		if runsIn(pod, e) {
			self = e
		} else {
			others = append(others, e)
		}
	}
	return self, others, err
}

// remove has the others remove this member, and makes sure that they have.
func (m removeMember) remove(ctx context.Context, pod *corev1.Pod, self etcd.Member, others []etcd.Member) error {
	var urls []string
	for _, e := range others {
		urls = append(urls, e.ClientURLs...)
	}
	cluster, err := clusterOf(pod, urls)
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	ctx, cancel := context.WithTimeoutCause(ctx, m.timeout, fmt.Errorf("gave up after %s", m.timeout))
	defer cancel()
	if err := cluster.Remove(ctx, self.ID); err != nil {
		return hint.With(err, "see to the other members first; --skip-phases remove-etcd-member leaves the member to them")
	}
	return nil
}

// clusterOf returns a client of the cluster that etcd's static pod is a member
// of. It identifies as those do who ask for etcd's health.
func clusterOf(pod *corev1.Pod, urls []string) (*etcd.Cluster, error) {
	dir := volumePath(pod, etcdCerts)
	if dir == "" {
		return nil, errors.New("the manifest of etcd does not say where its certificates are")
	}
	return etcdCluster(certs.Tree(filepath.Dir(dir)), urls)
}
