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
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
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
	var name string
	var others []string
	for _, e := range members {
		if e.ID == self {
			name = e.Name
		} else {
			others = append(others, e.Name)
		}
	}
	if name == "" || len(others) == 0 {
		return nil, nil
	}
	return []Change{{
		fmt.Sprintf("remove %s (%x) from the etcd cluster it is in with %s", name, self, strings.Join(others, ", ")),
		func(ctx context.Context) error { return m.remove(ctx, pod, members, self) },
	}}, nil
}

// look asks this node's etcd for the members and for itself.
func (m removeMember) look(ctx context.Context, pod *corev1.Pod) (members []*etcdserverpb.Member, self uint64, err error) {
	urls := strings.Split(pod.Annotations[etcdClientURLs], ",")
	err = askOne(ctx, pod, urls, func(ctx context.Context, c etcdserverpb.ClusterClient) error {
		list, err := c.MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
		members, self = list.GetMembers(), list.GetHeader().GetMemberId()
		return err
	})
	return members, self, err
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
	err := until(ctx, m.timeout, func(ctx context.Context) (bool, error) {
		err := askOne(ctx, pod, urls, func(ctx context.Context, c etcdserverpb.ClusterClient) error {
			return leave(ctx, c, self)
		})
		return err == nil, err
	})
	if err != nil {
		return hint(err, "see to the other members first; --skip-phases remove-etcd-member leaves the member to them")
	}
	return nil
}

func leave(ctx context.Context, c etcdserverpb.ClusterClient, self uint64) error {
	_, err := c.MemberRemove(ctx, &etcdserverpb.MemberRemoveRequest{ID: self})
	if err != nil && !errors.Is(rpctypes.Error(err), rpctypes.ErrMemberNotFound) {
		return err
	}
	list, err := c.MemberList(ctx, &etcdserverpb.MemberListRequest{Linearizable: true})
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list.Members, func(e *etcdserverpb.Member) bool { return e.ID == self }) {
		return errors.New("the others still list it")
	}
	return nil
}

// askOne calls do with one after another, until one answers. It identifies as
// those do who ask for etcd's health.
func askOne(ctx context.Context, pod *corev1.Pod, urls []string, do func(context.Context, etcdserverpb.ClusterClient) error) error {
	tree := certs.Tree(filepath.Dir(volumePath(pod, "etcd-certs")))
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
	identity := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots})
	for _, url := range urls {
		if err = askAt(ctx, url, identity, do); err == nil {
			return nil
		}
	}
	return err
}

func askAt(ctx context.Context, url string, identity credentials.TransportCredentials, do func(context.Context, etcdserverpb.ClusterClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(url, "https://"), grpc.WithTransportCredentials(identity))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return do(ctx, etcdserverpb.NewClusterClient(conn))
}
