package etcd

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/cfssl/log"
	"github.com/klauspost/compress/zstd"

	"boot.internal/certs"
	"boot.internal/nstest"
)

// TestMain silences cfssl, which tells of every certificate it signs.
func TestMain(m *testing.M) {
	log.Level = log.LevelError
	m.Run()
}

// A lab is a place for real members, which all live on the loopback interface.
type lab struct {
	t       *testing.T
	program string
	tree    certs.Paths
	members map[string]*server
}

// A server is one etcd. Its addresses are known before it runs.
type server struct {
	client, peer, dir string
	cmd               *exec.Cmd
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{t: t, program: filepath.Join(dir, "program"), tree: certs.Tree(dir), members: map[string]*server{}}
	unpack(t, nstest.Image(t, "etcd"), l.program)
	pki := certs.New(certs.Options{
		Dir: dir, NodeName: "node", AdvertiseAddress: "127.0.0.1", Algorithm: certs.ECDSAP256, CAPeriod: time.Hour, Period: time.Hour,
	})
	for _, item := range pki.EtcdCerts() {
		writes, err := item.Plan()
		for _, w := range writes {
			err = errors.Join(err, w.Do())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// unpack takes etcd out of the archive of its image.
func unpack(t *testing.T, archive, to string) {
	t.Helper()
	data, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	for blob := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := blob.Next()
		if err != nil {
			t.Fatalf("find etcd in %s: %v", archive, err)
		}
		if strings.HasPrefix(h.Name, "blobs/") && unpackLayer(blob, to) {
			return
		}
	}
}

// unpackLayer looks for etcd in what may be a layer.
func unpackLayer(r io.Reader, to string) bool {
	z, err := zstd.NewReader(r)
	if err != nil {
		return false
	}
	defer z.Close()
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err != nil {
			return false
		}
		if path.Base(h.Name) != "etcd" || h.Typeflag != tar.TypeReg {
			continue
		}
		program, err := io.ReadAll(files)
		return err == nil && os.WriteFile(to, program, 0o755) == nil
	}
}

// place finds room for a member.
func (l *lab) place(name string) *server {
	l.t.Helper()
	s := &server{client: freeURL(l.t), peer: freeURL(l.t), dir: l.t.TempDir()}
	l.members[name] = s
	return s
}

func freeURL(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return "https://" + listener.Addr().String()
}

// start runs a member, which is of the ones that exist if others are named.
func (l *lab) start(name string, others ...string) {
	l.t.Helper()
	s, state := l.members[name], "new"
	cluster := []string{name + "=" + s.peer}
	for _, other := range others {
		state = "existing"
		cluster = append(cluster, other+"="+l.members[other].peer)
	}
	s.cmd = exec.CommandContext(l.t.Context(), l.program,
		"--name", name, "--data-dir", s.dir, "--initial-cluster", strings.Join(cluster, ","), "--initial-cluster-state", state,
		"--listen-client-urls", s.client, "--advertise-client-urls", s.client,
		"--listen-peer-urls", s.peer, "--initial-advertise-peer-urls", s.peer,
		"--cert-file", l.tree.EtcdServer.Cert, "--key-file", l.tree.EtcdServer.Key, "--trusted-ca-file", l.tree.EtcdCA.Cert, "--client-cert-auth",
		"--peer-cert-file", l.tree.EtcdPeer.Cert, "--peer-key-file", l.tree.EtcdPeer.Key, "--peer-trusted-ca-file", l.tree.EtcdCA.Cert, "--peer-client-cert-auth",
		"--logger", "zap", "--log-level", "error",
	)
	if err := s.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.stop(name) })
}

func (l *lab) stop(name string) {
	if s := l.members[name]; s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // it was killed
		s.cmd = nil
	}
}

// cluster returns a client that knows the first member, a.
func (l *lab) cluster() *Cluster {
	l.t.Helper()
	c, err := New(Options{
		Endpoints: []string{l.members["a"].client},
		CA:        l.tree.EtcdCA.Cert, Cert: l.tree.EtcdHealthcheckClient.Cert, Key: l.tree.EtcdHealthcheckClient.Key,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// within bounds what is to take no time worth speaking of.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("not within %s", d))
	t.Cleanup(cancel)
	return ctx
}

func patient() Waiting { return Waiting{Stalled: time.Minute, All: time.Minute} }

// shape is how the members are, by name: a letter as for TestRemovable.
func (l *lab) shape(c *Cluster, members []Member) string {
	l.t.Helper()
	var b strings.Builder
	for _, s := range c.Statuses(l.t.Context(), members) {
		letter := "V"
		if s.Learner {
			letter = "L"
		}
		if s.Err != nil {
			letter = strings.ToLower(letter)
		}
		b.WriteString(s.String() + letter + " ")
	}
	return strings.TrimSpace(b.String())
}

// expect waits until the members are as wanted.
func (l *lab) expect(c *Cluster, want string) {
	l.t.Helper()
	l.expectOf(c, c.Members, want)
}

// expectSeen waits until those who answer say so.
func (l *lab) expectSeen(c *Cluster, want string) {
	l.t.Helper()
	l.expectOf(c, c.MembersSeen, want)
}

func (l *lab) expectOf(c *Cluster, list func(context.Context) ([]Member, error), want string) {
	l.t.Helper()
	var got string
	err := until(within(l.t, time.Minute), func(ctx context.Context) (bool, error) {
		members, err := list(ctx)
		if got = l.shape(c, members); err == nil && got != want {
			err = errors.New(got)
		}
		return err == nil, err
	})
	if err != nil {
		l.t.Fatalf("members: %v, want %s", err, want)
	}
}

// join adds a member in the way joins do.
func (l *lab) join(c *Cluster, name string, others ...string) {
	l.t.Helper()
	m, err := c.AddLearner(within(l.t, time.Minute), l.place(name).peer)
	if err != nil {
		l.t.Fatal(err)
	}
	l.start(name, others...)
	if err := c.Promote(l.t.Context(), m.ID, patient()); err != nil {
		l.t.Fatal(err)
	}
}

func TestMembersComeAndGo(t *testing.T) {
	l := newLab(t)
	l.place("a")
	l.start("a")
	c := l.cluster()
	l.expect(c, "aV")
	members, err := c.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(within(t, time.Minute), members[0].ID); !errors.Is(err, ErrLast) {
		t.Errorf("remove the last: %v", err)
	}

	b := l.learner(c)
	l.start("b", "a")
	l.promote(c, b)
	l.expect(c, "aV bV")
	l.join(c, "c", "a", "b")
	l.expect(c, "aV bV cV")

	// One that is dead may go, and those that are left may not while it is there.
	l.stop("c")
	l.expect(c, "aV bV cv") // it may have been the leader
	l.refused(c, b.ID, "c: ")
	m, _ := l.find(c, "c")
	for range 2 { // a second time there is nothing left to do
		if err := c.Remove(within(t, time.Minute), m.ID); err != nil {
			t.Fatal(err)
		}
		l.expect(c, "aV bV")
	}

	// Without a quorum there is still something to see.
	l.stop("b")
	if _, err := c.Members(within(t, time.Second)); err == nil {
		t.Error("the members are known for sure without a quorum")
	}
	l.expectSeen(c, "av bv")
}

// learner adds b, twice, and asks for its promotion before it has started.
func (l *lab) learner(c *Cluster) Member {
	l.t.Helper()
	l.place("b")
	var b Member
	for range 2 {
		m, err := c.AddLearner(within(l.t, time.Minute), l.members["b"].peer)
		if err != nil {
			l.t.Fatal(err)
		}
		if b.ID != 0 && b.ID != m.ID {
			l.t.Errorf("added twice: %v, %v", b, m)
		}
		b = m
	}
	l.expect(c, "aV "+b.HexID()+"l")
	err := c.Promote(l.t.Context(), b.ID, Waiting{Stalled: time.Second, All: time.Minute})
	if err == nil || !strings.Contains(err.Error(), "no progress for 1s") || !strings.Contains(err.Error(), "has not started") {
		l.t.Errorf("promote what has not started: %v", err)
	}
	if _, err := c.AddLearner(within(l.t, 5*time.Second), "https://127.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "too many learner") {
		l.t.Errorf("a second learner: %v", err)
	}
	return b
}

// promote gives b its vote, and again.
func (l *lab) promote(c *Cluster, b Member) {
	l.t.Helper()
	var told []string
	w := patient()
	w.Tell = func(what string) { told = append(told, what) }
	for range 2 {
		if err := c.Promote(l.t.Context(), b.ID, w); err != nil {
			l.t.Fatal(err)
		}
	}
	if len(told) == 0 || told[0] != "the learner to start" && told[0] != "the learner to be in sync" {
		l.t.Errorf("told %q", told)
	}
	if err := c.Promote(l.t.Context(), 42, patient()); err == nil || !strings.Contains(err.Error(), "no member") {
		l.t.Errorf("promote nobody: %v", err)
	}
}

// refused wants a removal to be refused because of a member.
func (l *lab) refused(c *Cluster, id uint64, who string) {
	l.t.Helper()
	err := c.Remove(within(l.t, 5*time.Second), id)
	if !errors.Is(err, ErrQuorum) || !strings.Contains(err.Error(), who) {
		l.t.Errorf("remove one too many: %v", err)
	}
}

func (l *lab) find(c *Cluster, name string) (Member, bool) {
	l.t.Helper()
	members, err := c.Members(within(l.t, time.Minute))
	if err != nil {
		l.t.Fatal(err)
	}
	return Find(members, name)
}

func TestNobodyAnswers(t *testing.T) {
	l := newLab(t)
	l.place("a")
	begin := time.Now()
	_, err := l.cluster().Members(within(t, time.Minute))
	if err == nil || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), l.members["a"].client) {
		t.Errorf("%v", err)
	}
	if took := time.Since(begin); took > callTimeout {
		t.Errorf("took %s for what is clear at once", took)
	}
}

func TestEndpointsThatAreNone(t *testing.T) {
	for _, endpoint := range []string{"http://127.0.0.1:2379", "127.0.0.1:2379", "https://host", "://"} {
		if err := checkURL(endpoint); err == nil {
			t.Errorf("%s is taken for one", endpoint)
		}
	}
}
