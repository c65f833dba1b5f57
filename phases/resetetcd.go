package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"boot.internal/certs"
	"boot.internal/config"
)

// etcdClientURLs is the annotation in which kubeadm's manifest of etcd says
// where clients reach it.
const etcdClientURLs = "kubeadm.kubernetes.io/etcd.advertise-client-urls"

// lookTimeout is how long etcd may take to tell its members.
const lookTimeout = 5 * time.Second

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
	members, self, err := m.look(ctx, pod)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		warn(ctx, fmt.Sprintf("etcd does not tell its members; if there are others, remove this one there, with 'etcdctl member remove': %v", err))
		return nil, nil
	}
	i := slices.IndexFunc(members, func(e *etcdserverpb.Member) bool { return e.ID == self })
	if len(members) == 1 || i < 0 {
		return nil, nil
	}
	return []Change{{
		fmt.Sprintf("remove %s (%x) from the etcd cluster, which keeps %d other members", members[i].Name, self, len(members)-1),
		func(ctx context.Context) error { return m.remove(ctx, pod, members, self) },
	}}, nil
}

// look asks this node's etcd for the members and for itself.
func (m removeMember) look(ctx context.Context, pod *corev1.Pod) ([]*etcdserverpb.Member, uint64, error) {
	c, err := etcdClient(pod, strings.Split(pod.Annotations[etcdClientURLs], ","))
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := c.MemberList(ctx)
	if err != nil {
		return nil, 0, err
	}
	return list.Members, list.Header.MemberId, nil
}

// remove has the others remove this member, and makes sure that they have: they
// refuse while that would cost them their quorum.
func (m removeMember) remove(ctx context.Context, pod *corev1.Pod, members []*etcdserverpb.Member, self uint64) error {
	var urls []string
	for _, e := range members {
		if e.ID != self {
			urls = append(urls, e.ClientURLs...)
		}
	}
	c, err := etcdClient(pod, urls)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	err = until(ctx, m.timeout, func(ctx context.Context) (bool, error) {
		_, err := c.MemberRemove(ctx, self)
		gone := errors.Is(err, rpctypes.ErrMemberNotFound)
		if err != nil && !gone {
			return false, err
		}
		list, err := c.MemberList(ctx)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list.Members, func(e *etcdserverpb.Member) bool { return e.ID == self }) {
			return false, errors.New("the others still list it")
		}
		return true, nil
	})
	if err != nil {
		return hint(err, "see to the other members first; --skip-phases remove-etcd-member leaves the member to them")
	}
	return nil
}

// etcdClient identifies as those do who ask for etcd's health.
func etcdClient(pod *corev1.Pod, urls []string) (*clientv3.Client, error) {
	tree := certs.Tree(filepath.Dir(volumePath(pod, "etcd-certs")))
	pair, err := tls.LoadX509KeyPair(tree.EtcdHealthcheckClient.Cert, tree.EtcdHealthcheckClient.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(tree.EtcdCA.Cert)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return clientv3.New(clientv3.Config{
		Endpoints: urls, Logger: zap.NewNop(), MaxUnaryRetries: 1,
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots},
	})
}
