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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// certificateKey opens the certificates that control planes share.
const certificateKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// joinAs are the arguments with which a node joins as a control plane.
func (m *team) joinAs(key string) []string {
	return m.join("--control-plane", "--certificate-key", key)
}

// shareByHand copies to a node what control planes share, as people do who give no
// key.
func (m *team) shareByHand(t *testing.T, n *lab.Node) {
	t.Helper()
	for _, name := range []string{
		"ca.crt", "ca.key", "sa.pub", "sa.key", "front-proxy-ca.crt", "front-proxy-ca.key", "etcd/ca.crt", "etcd/ca.key",
	} {
		path := "/etc/kubernetes/pki/" + name
		n.WriteFile(t, path, m.head.ReadFile(t, path))
	}
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

// Three control planes: however joins are ended, and whatever is left of them, etcd
// keeps its quorum and the next join finds its way.
func TestControlPlanes(t *testing.T) {
	m := newTeam(t, "--upload-certs")
	head, cp2, cp3 := m.head, m.node(t, "cp2"), m.node(t, "cp3")
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"a dry run", func(t *testing.T) { m.dryControlPlane(t, cp2) }},
		{"a wrong key", func(t *testing.T) {
			fails(t, cp2, "the certificate key does not open the certificates", "boot init phase upload-certs", m.joinAs(strings.Repeat("0", 64))...)
			expectMembers(t, head, "head")
		}},
		{"killed joins", func(t *testing.T) { m.killedLearner(t, cp2) }},
		{"a learner was left behind", func(t *testing.T) { m.leftBehind(t, cp2, cp3) }},
		{"the same again", func(t *testing.T) { m.isIdle(t, cp2) }},
		{"a dead one is removed", func(t *testing.T) { m.removeDead(t, cp3) }},
		{"the dead one joins anew", func(t *testing.T) {
			if err := cp3.PowerOn(); err != nil {
				t.Fatal(err)
			}
			// The node comes back as it was, and only then is it reset.
			lab.Until(t, patience, "see the engine", func(ctx context.Context) error {
				_, err := lab.Containers(ctx, engineClient(t, cp3))
				return err
			})
			cp3.Boot(t, "reset", "--force")
			// It may have been Ready again, and nobody has missed it since; or its loop
			// has not come to that.
			m.deleteNode(t, cp3.Name)
			m.shareByHand(t, cp3)
			cp3.Boot(t, m.join("--control-plane")...)
			m.expectThree(t, cp2, cp3)
		}},
		{"reset of two", func(t *testing.T) {
			m.leave(t, cp2, "cp3", "head")
			m.leave(t, cp3, "head")
		}},
		{"two at once", func(t *testing.T) {
			m.joinAtOnce(t, cp2, cp3)
			m.expectThree(t, cp2, cp3)
		}},
		{"killed joins again", func(t *testing.T) {
			m.leave(t, cp2, "cp3", "head")
			m.killed(t, cp2, afterVote()...)
			cp2.Boot(t, m.joinAs(certificateKey)...)
			m.expectThree(t, cp2, cp3)
		}},
	} {
		if !t.Run(step.name, step.do) {
			return // the next would find what this one has left
		}
	}
}

// expectThree waits until all three are whole control planes.
func (m *team) expectThree(t *testing.T, others ...*lab.Node) {
	t.Helper()
	for _, n := range append(others, m.head) {
		expectMembers(t, n, "cp2", "cp3", "head")
		expectControlPlane(t, n)
	}
}

// leave takes a control plane that is well out of the cluster.
func (m *team) leave(t *testing.T, n *lab.Node, left ...string) {
	t.Helper()
	begin := time.Now()
	n.Boot(t, "reset", "--force")
	t.Logf("reset took %s", time.Since(begin))
	expectMembers(t, m.head, left...)
	m.deleteNode(t, n.Name)
}

// leftBehind has one node join while the learner of another's killed join is still
// there, and then that other.
func (m *team) leftBehind(t *testing.T, dead, n *lab.Node) {
	t.Helper()
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.joinAs(certificateKey)...)...)
	if err != nil || out.Code != 0 || !strings.Contains(out.Stderr, "was left behind by a join that ended") {
		t.Fatalf("%v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	expectMembers(t, m.head, "cp3", "head")
	dead.Boot(t, m.joinAs(certificateKey)...)
	m.expectThree(t, dead, n)
}

// dryControlPlane shows what a join would do.
func (m *team) dryControlPlane(t *testing.T, n *lab.Node) {
	t.Helper()
	before := n.State(t)
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, append(m.joinAs(certificateKey), "--dry-run")...)...)
	if err != nil || out.Code != 0 {
		t.Fatalf("%v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	for _, want := range []string{
		"/etc/kubernetes/pki/etcd/ca.crt", " from Secret kube-system/kubeadm-certs",
		"[control-plane-prepare/certs] would write /etc/kubernetes/pki/apiserver.crt",
		"[etcd-join] would get the image registry.k8s.io/etcd:",
		"[etcd-join] would add " + n.Name + " to the etcd cluster as a learner, write /etc/kubernetes/manifests/etcd.yaml",
		"[control-plane-prepare/control-plane] would write /etc/kubernetes/manifests/kube-apiserver.yaml",
		"[control-plane-join/mark-control-plane] would mark the node " + n.Name,
	} {
		if !strings.Contains(out.Stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, out.Stderr)
		}
	}
	if strings.Contains(out.Stderr, "prepare/certs] would write /etc/kubernetes/pki/ca.") || strings.Contains(out.Stdout+out.Stderr, certificateKey) {
		t.Errorf("it would make an authority, or tells the key:\n%s", out.Stderr)
	}
	if diff := cmp.Diff(before, n.State(t)); diff != "" {
		t.Errorf("state (-before +after):\n%s", diff)
	}
}

// beforeVote are what a join says until its learner has a vote: there it is killed.
func beforeVote() []string {
	return []string{
		"[control-plane-prepare/download-certs] write",
		"[control-plane-prepare/certs] write /etc/kubernetes/pki/apiserver.crt",
		"[control-plane-prepare/kubeconfig] write /etc/kubernetes/admin.conf",
		"[kubelet-start] start",
		"[etcd-join] add",
		"[etcd-join] waiting: the learner to start",
		"[etcd-join] waiting: the learner to be in sync",
	}
}

// afterVote are what a join says from then on.
func afterVote() []string {
	return []string{
		"[control-plane-prepare/control-plane] write /etc/kubernetes/manifests/kube-apiserver.yaml",
		"[wait-control-plane] waiting: ",
		"[control-plane-prepare/control-plane] write /etc/kubernetes/manifests/kube-scheduler.yaml",
		"[control-plane-join/mark-control-plane] mark",
	}
}

// killed kills joins wherever they are. What a join was still able to do when it was
// killed is not said by the next one, which is killed at what comes then.
func (m *team) killed(t *testing.T, n *lab.Node, wherever ...string) {
	t.Helper()
	for len(wherever) > 0 {
		said, _ := cut(t, n, syscall.SIGKILL, append(m.joinAs(certificateKey), "-v", "1"), wherever...)
		at := slices.IndexFunc(wherever, func(at string) bool { return strings.Contains("\n"+said, "\n"+at) })
		t.Logf("killed at %s", wherever[at])
		m.quorum(t)
		wherever = wherever[at+1:]
	}
}

// quorum waits until the members of etcd agree, and returns them.
func (m *team) quorum(t *testing.T) (got []string) {
	t.Helper()
	lab.Until(t, patience, "see that etcd has a quorum", func(ctx context.Context) (err error) {
		if got, err = members(ctx, t, m.head); err == nil && !slices.Contains(got, "head") {
			err = fmt.Errorf("%q", got)
		}
		return err
	})
	return got
}

// deleteNode deletes a Node, if it is there. etcd may just have another leader, and an
// answer may be lost.
func (m *team) deleteNode(t *testing.T, name string) {
	t.Helper()
	client := m.head.Client(t, adminConf)
	lab.Until(t, patience, "delete node "+name, func(ctx context.Context) error {
		err := client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

// killedLearner kills joins until a learner is left of the last. One that got its vote
// in the moment before it was killed is taken away, and all begins anew.
func (m *team) killedLearner(t *testing.T, n *lab.Node) {
	t.Helper()
	for range 5 {
		m.killed(t, n, beforeVote()...)
		got := m.quorum(t)
		if !slices.Contains(got, n.Name) && !slices.Contains(got, n.Name+" sick") {
			return
		}
		t.Logf("it was a voter already: %q", got)
		n.Boot(t, "reset", "--force")
		expectMembers(t, m.head, "head")
		m.deleteNode(t, n.Name)
	}
	t.Fatal("it was never killed in time")
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
	undisturbed(t, n, func() (machine, cluster string) {
		out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.joinAs(certificateKey)...)...)
		if err != nil || out.Code != 0 || slices.ContainsFunc(done(out.Stderr), func(line string) bool { return strings.HasPrefix(line, "[") }) {
			t.Errorf("join again: %v, exit code %d:\n%s", err, out.Code, out.Stderr)
		}
		return "", ""
	})
}

// expectControlPlane waits until a node runs a whole control plane of its own.
func expectControlPlane(t *testing.T, n *lab.Node) {
	t.Helper()
	waitReady(t, n)
	client := n.Client(t, adminConf)
	lab.Until(t, patience, "see the node marked", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if _, is := node.Labels["node-role.kubernetes.io/control-plane"]; !is || len(node.Spec.Taints) == 0 {
			return fmt.Errorf("%s has %v, %v", n.Name, node.Labels, node.Spec.Taints)
		}
		return nil
	})
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
	m.deleteNode(t, "cp3")
	t.Logf("the API answered after %s", time.Since(begin))
}
