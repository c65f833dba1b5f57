package phases

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// A fakeEtcd is a cluster whose members all know the same. Only the calls of
// its clients are real, and its certificates.
type fakeEtcd struct {
	mu      sync.Mutex
	members []*etcdserverpb.Member
	refuse  []error // what removing fails with first
	next    uint64  // ID of the last learner
	// ready, if set, is asked whether a learner runs and is in sync, and says what
	// is wrong if not.
	ready func(*etcdserverpb.Member) error
	// leaderless, if set, says whether there is nobody who could tell the members.
	leaderless func() bool
}

// A fakeMember answers as one of the members.
type fakeMember struct {
	etcdserverpb.UnimplementedClusterServer
	etcdserverpb.UnimplementedMaintenanceServer
	*fakeEtcd
	id uint64
}

func (m fakeMember) header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{MemberId: m.id}
}

func (m fakeMember) MemberList(context.Context, *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leaderless != nil && m.leaderless() {
		return nil, rpctypes.ErrGRPCNoLeader
	}
	for i, e := range m.members {
		if e.Name == "" && m.ready != nil && m.ready(e) == nil {
			m.members[i] = &etcdserverpb.Member{ID: e.ID, Name: "node-1", PeerURLs: e.PeerURLs, ClientURLs: []string{"https://127.0.0.1:1"}, IsLearner: true}
		}
	}
	return &etcdserverpb.MemberListResponse{Header: m.header(), Members: slices.Clone(m.members)}, nil
}

func (m fakeMember) Status(context.Context, *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &etcdserverpb.StatusResponse{Header: m.header(), Leader: m.members[0].ID}, nil
}

func (m fakeMember) MemberRemove(_ context.Context, r *etcdserverpb.MemberRemoveRequest) (*etcdserverpb.MemberRemoveResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.refuse) > 0 {
		err := m.refuse[0]
		m.refuse = m.refuse[1:]
		return nil, err
	}
	i := slices.IndexFunc(m.members, func(e *etcdserverpb.Member) bool { return e.ID == r.ID })
	if i < 0 {
		return nil, rpctypes.ErrGRPCMemberNotFound
	}
	m.members = slices.Delete(m.members, i, i+1)
	return &etcdserverpb.MemberRemoveResponse{Header: m.header(), Members: slices.Clone(m.members)}, nil
}

// MemberAdd adds learners alone, and only one.
func (m fakeMember) MemberAdd(_ context.Context, r *etcdserverpb.MemberAddRequest) (*etcdserverpb.MemberAddResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !r.IsLearner {
		return nil, rpctypes.ErrGRPCUnhealthy
	}
	for _, e := range m.members {
		if e.IsLearner {
			return nil, rpctypes.ErrGRPCTooManyLearners
		}
	}
	m.next++
	added := &etcdserverpb.Member{ID: 0x100 + m.next, PeerURLs: r.PeerURLs, IsLearner: true}
	m.members = append(m.members, added)
	return &etcdserverpb.MemberAddResponse{Header: m.header(), Member: added}, nil
}

func (m fakeMember) MemberPromote(_ context.Context, r *etcdserverpb.MemberPromoteRequest) (*etcdserverpb.MemberPromoteResponse, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.members, func(e *etcdserverpb.Member) bool { return e.ID == r.ID })
	if i < 0 {
		return nil, rpctypes.ErrGRPCMemberNotFound
	}
	if err := m.ready(m.members[i]); err != nil {
		return nil, err
	}
	m.members[i] = &etcdserverpb.Member{ID: r.ID, Name: m.members[i].Name, PeerURLs: m.members[i].PeerURLs, ClientURLs: m.members[i].ClientURLs}
	return &etcdserverpb.MemberPromoteResponse{Header: m.header()}, nil
}

// join adds a member that answers, and returns where.
func (f *fakeEtcd) join(t *testing.T, w *world, id uint64, name string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(w.tree().EtcdServer.Cert, w.tree().EtcdServer.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(w.tree().EtcdCA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
	})))
	etcdserverpb.RegisterClusterServer(server, fakeMember{fakeEtcd: f, id: id})
	etcdserverpb.RegisterMaintenanceServer(server, fakeMember{fakeEtcd: f, id: id})
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // before it began
			t.Error(err)
		}
	})
	url := "https://" + listener.Addr().String()
	f.members = append(f.members, &etcdserverpb.Member{ID: id, Name: name, ClientURLs: []string{url}})
	return url
}

// member is the phase on a node with a PKI, whose etcd is to be reached at url.
func (w *world) member(url string) Phase {
	w.t.Helper()
	dataDir := w.cfg.Cluster.Etcd.Local.DataDir
	path := filepath.Join(w.cfg.Kubelet.StaticPodPath, "etcd.yaml")
	text := manifest(map[string]string{"etcd-data": dataDir, "etcd-certs": filepath.Join(w.cfg.Cluster.CertificatesDir, "etcd")}) +
		"metadata: {annotations: {kubeadm.kubernetes.io/etcd.advertise-client-urls: \"" + url + "\"}}\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600),
		os.MkdirAll(filepath.Join(dataDir, "member"), 0o755)); err != nil {
		w.t.Fatal(err)
	}
	return removeMember{path, 2 * time.Second}
}

func newEtcdWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "")
	w.makeCerts()
	return w
}

func TestTheOnlyMemberStays(t *testing.T) {
	w, f := newEtcdWorld(t), &fakeEtcd{}
	phase := w.member(f.join(t, w, 7, "node-1"))
	if changes := w.runPhase(phase); len(changes) > 0 || len(f.members) != 1 {
		t.Errorf("changed %q, members %v", changes, f.members)
	}
}

func TestAMemberLeavesTheOthers(t *testing.T) {
	w, f := newEtcdWorld(t), &fakeEtcd{}
	phase := w.member(f.join(t, w, 7, "node-1"))
	f.join(t, w, 8, "node-2")
	f.join(t, w, 9, "node-3")
	f.refuse = []error{rpctypes.ErrGRPCUnhealthy} // until it is healthy
	changes := w.runPhase(phase)
	if want := "remove node-1 (7) from the etcd cluster it is in with node-2, node-3"; !slices.Equal(changes, []string{want}) {
		t.Errorf("changed %q", changes)
	}
	if len(f.members) != 2 || f.members[0].Name != "node-2" {
		t.Errorf("members %v", f.members)
	}
}

func TestOthersThatDoNotLetAMemberGo(t *testing.T) {
	w, f := newEtcdWorld(t), &fakeEtcd{}
	phase := w.member(f.join(t, w, 7, "node-1"))
	f.join(t, w, 8, "node-2")
	f.refuse = slices.Repeat([]error{rpctypes.ErrGRPCMemberNotEnoughStarted}, 1000)
	_, err := runSteps(t.Context(), Runner{}, Step{Name: "etcd", Phase: phase})
	wantError(t, err, "not enough started members", "--skip-phases remove-etcd-member")
}

func TestAnEtcdThatDoesNotAnswer(t *testing.T) {
	w := newEtcdWorld(t)
	begin := time.Now()
	said, err := trace(t.Context(), Runner{}, Step{Name: "etcd", Phase: w.member("https://127.0.0.1:1")})
	if err != nil || !strings.Contains(said, "warned etcd does not tell its members") || !strings.Contains(said, "connection refused") {
		t.Errorf("%v: %s", err, said)
	}
	if took := time.Since(begin); took > lookTimeout {
		t.Errorf("took %s for what is clear at once", took)
	}
}
