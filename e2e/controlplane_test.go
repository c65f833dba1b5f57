package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// certificateKey opens the certificates that control planes share.
const certificateKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// joinAs are the arguments with which a node joins as a control plane.
func (m *team) joinAs(key string) []string {
	return m.join("--control-plane", "--certificate-key", key)
}

// An etcdMember is what "boot etcd members -o json" says of one.
type etcdMember struct {
	Name, ID, Role, Error string
	Healthy               bool
}

// members are the names of etcd's members as a node sees them, each followed by
// what keeps it from being a healthy voter.
func members(ctx context.Context, t *testing.T, n *lab.Node) ([]string, error) {
	t.Helper()
	out, err := n.Try(ctx, lab.BootBinary(t), "etcd", "members", "-o", "json")
	if err != nil || out.Code != 0 {
		return nil, fmt.Errorf("%w, exit code %d: %s", err, out.Code, out.Stderr)
	}
	var all []etcdMember
	if err := json.Unmarshal([]byte(out.Stdout), &all); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range all {
		name := m.Name
		if m.Role == "learner" {
			name += " learner"
		}
		if !m.Healthy {
			name += " sick"
		}
		names = append(names, name)
	}
	return names, nil
}

func expectMembers(t *testing.T, n *lab.Node, want ...string) {
	t.Helper()
	lab.Until(t, patience, "see the members of etcd", func(ctx context.Context) error {
		got, err := members(ctx, t, n)
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			err = fmt.Errorf("(-want +got):\n%s", diff)
		}
		return err
	})
}

// fails runs boot, which is to fail with an error and a hint that say something.
func fails(t *testing.T, n *lab.Node, text, hint string, args ...string) {
	t.Helper()
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	if err != nil || out.Code == 0 {
		t.Fatalf("%q: %v, exit code %d", args, err, out.Code)
	}
	at := strings.Index(out.Stderr, "hint: ")
	if !strings.Contains(out.Stderr, text) || at < 0 || !strings.Contains(out.Stderr[at:], hint) {
		t.Errorf("%q does not say %q and %q:\n%s", args, text, hint, out.Stderr)
	}
}

func TestControlPlanes(t *testing.T) {
	m := newTeam(t, "--upload-certs")
	head, cp2, cp3 := m.head, m.node(t, "cp2"), m.node(t, "cp3")
	ok := t.Run("a wrong key", func(t *testing.T) {
		fails(t, cp2, "the certificate key does not open the certificates", "boot init phase upload-certs", m.joinAs(strings.Repeat("0", 64))...)
		expectMembers(t, head, "head")
	}) &&
		t.Run("killed joins", func(t *testing.T) { m.killed(t, cp2) }) &&
		t.Run("two at once", func(t *testing.T) {
			m.joinAtOnce(t, cp2, cp3)
			for _, n := range []*lab.Node{head, cp2, cp3} {
				expectMembers(t, n, "cp2", "cp3", "head")
				expectControlPlane(t, n)
			}
			m.isIdle(t, cp2)
		}) &&
		t.Run("a dead one is removed", func(t *testing.T) { m.removeDead(t, cp3) }) &&
		t.Run("the dead one joins anew", func(t *testing.T) {
			if err := cp3.PowerOn(); err != nil {
				t.Fatal(err)
			}
			cp3.Boot(t, "reset", "--force")
			cp3.Boot(t, m.joinAs(certificateKey)...)
			expectMembers(t, head, "cp2", "cp3", "head")
			expectControlPlane(t, cp3)
		})
	_ = ok && t.Run("reset and again", func(t *testing.T) {
		cp2.Boot(t, "reset", "--force")
		expectMembers(t, head, "cp3", "head")
		head.Kubectl(t, "delete", "node", "cp2")
		cp2.Boot(t, m.joinAs(certificateKey)...)
		expectMembers(t, cp3, "cp2", "cp3", "head")
		expectControlPlane(t, cp2)
	})
}

// killed kills joins wherever they are.
func (m *team) killed(t *testing.T, n *lab.Node) {
	t.Helper()
	for _, at := range []string{
		"[control-plane-prepare/download-certs] write",
		"[control-plane-prepare/certs] write /etc/kubernetes/pki/apiserver.crt",
		"[control-plane-prepare/kubeconfig] write /etc/kubernetes/admin.conf",
		"[kubelet-start] start",
		"[etcd-join] add",
		"[etcd-join] waiting: the learner to start",
		"[etcd-join] waiting: the learner to be in sync",
	} {
		said, _ := cut(t, n, syscall.SIGKILL, append(m.joinAs(certificateKey), "-v", "1"), at)
		got, err := members(t.Context(), t, m.head)
		if err != nil || !slices.Contains(got, "head") {
			t.Fatalf("killed at %s: %v, %v\n%s", at, got, err, said)
		}
	}
}

// joinAtOnce has nodes join together.
func (m *team) joinAtOnce(t *testing.T, nodes ...*lab.Node) {
	t.Helper()
	outs := make([]string, len(nodes))
	var group sync.WaitGroup
	for i, n := range nodes {
		group.Go(func() {
			out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.joinAs(certificateKey)...)...)
			if err != nil || out.Code != 0 {
				t.Errorf("%s: %v, exit code %d", n.Name, err, out.Code)
			}
			outs[i] = out.Stderr + out.Stdout
		})
	}
	group.Wait()
	for i, n := range nodes {
		if t.Failed() {
			t.Logf("%s:\n%s", n.Name, outs[i])
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// isIdle runs a join again, which has nothing left to do.
func (m *team) isIdle(t *testing.T, n *lab.Node) {
	t.Helper()
	before := containers(t, n)
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.joinAs(certificateKey)...)...)
	if err != nil || out.Code != 0 || strings.Contains("\n"+out.Stderr, "\n[") {
		t.Errorf("join again: %v, exit code %d:\n%s", err, out.Code, out.Stderr)
	}
	if diff := cmp.Diff(before, containers(t, n)); diff != "" {
		t.Errorf("join again (-before +after):\n%s", diff)
	}
}

// expectControlPlane waits until a node runs a whole control plane of its own.
func expectControlPlane(t *testing.T, n *lab.Node) {
	t.Helper()
	waitReady(t, n)
	client := n.Client(t, adminConf)
	node, err := client.CoreV1().Nodes().Get(t.Context(), n.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, is := node.Labels["node-role.kubernetes.io/control-plane"]; !is || len(node.Spec.Taints) == 0 {
		t.Errorf("%s is not marked: %v, %v", n.Name, node.Labels, node.Spec.Taints)
	}
	if conf := n.ReadFile(t, "/etc/kubernetes/scheduler.conf"); !strings.Contains(conf, "server: https://"+n.IP.String()+":6443") {
		t.Errorf("the scheduler of %s does not use the API server there", n.Name)
	}
	lab.Until(t, patience, "see the API server among the endpoints", func(ctx context.Context) error {
		slice, err := client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		var addresses []string
		for _, e := range slice.Endpoints {
			addresses = append(addresses, e.Addresses...)
		}
		if !slices.Contains(addresses, n.IP.String()) {
			return fmt.Errorf("%v", addresses)
		}
		return nil
	})
}

// removeDead has a node die and its member removed by another.
func (m *team) removeDead(t *testing.T, dead *lab.Node) {
	t.Helper()
	fails(t, m.head, "cp3 is running and well", "boot reset", "etcd", "remove", "cp3")
	if err := dead.PowerOff(); err != nil {
		t.Fatal(err)
	}
	expectMembers(t, m.head, "cp2", "cp3 sick", "head")
	fails(t, m.head, "no quorum", "see to the other members first", "etcd", "remove", "cp2", "--force")

	out, err := m.head.Try(t.Context(), lab.BootBinary(t), "etcd", "remove", "cp3", "--dry-run")
	if err != nil || out.Code != 0 || !strings.Contains(out.Stderr, "would remove cp3") {
		t.Errorf("dry run: %v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	expectMembers(t, m.head, "cp2", "cp3 sick", "head")
	m.head.Boot(t, "etcd", "remove", "cp3")
	expectMembers(t, m.head, "cp2", "head")
	if said := m.head.Boot(t, "etcd", "remove", "cp3"); !strings.Contains(said, "is no member") {
		t.Errorf("again: %s", said)
	}
	begin := time.Now()
	m.head.Kubectl(t, "delete", "node", "cp3")
	t.Logf("the API answered after %s", time.Since(begin))
}
