package e2e

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/discovery"
	"boot.internal/e2e/internal/lab"
)

// What init prints, and later "boot token create", is all that a worker needs.
func TestJoinAsPrinted(t *testing.T) {
	lan := lab.NewLAN(t)
	m := &team{lan: lan}
	m.head = m.node(t, "head")
	said := m.head.Boot(t, append([]string{"init"}, anyDisk(t, m.head)...)...)
	first, second := m.node(t, "worker1"), m.node(t, "worker2")
	joins(t, m, first, said)

	t.Run("a token made later", func(t *testing.T) {
		joins(t, m, second, m.head.Boot(t, "token", "create", "--print-join-command", "--ttl", "1h", "--description", "for a rack"))
		table := m.head.Boot(t, "token", "list")
		if !strings.Contains(table, "for a rack") {
			t.Errorf("tokens:\n%s", table)
		}
		made := strings.TrimSpace(m.head.Boot(t, "token", "create"))
		id, secret, _ := strings.Cut(made, ".")
		if table := m.head.Boot(t, "token", "list", "-o", "json"); !strings.Contains(table, id) || strings.Contains(table, secret) {
			t.Errorf("tokens: %s", table)
		}
		m.head.Boot(t, "token", "delete", id)
		if table := m.head.Boot(t, "token", "list"); strings.Contains(table, id) {
			t.Errorf("%s is still there:\n%s", id, table)
		}
	})
}

// joins has a machine join with the command among what boot has said.
func joins(t *testing.T, m *team, n *lab.Node, said string) {
	t.Helper()
	_, command, found := strings.Cut(said, "boot join ")
	if !found {
		t.Fatalf("no command to join with: %s", said)
	}
	command, _, _ = strings.Cut(command, "\n")
	args := append([]string{"join"}, strings.Fields(command)...)
	lab.Must(t, m.head.Signed(t.Context(), args[slices.Index(args, "--token")+1]))
	n.Boot(t, args...)
	nodeReady(t, m, n.Name)
}

// A team is a control plane that others can join, on a network.
type team struct {
	lan  *lab.LAN
	head *lab.Node // the first control plane
	hash string    // of its authority
}

// newTeam returns a cluster of one control plane, made with more arguments if need
// be.
func newTeam(t testing.TB, more ...string) *team {
	t.Helper()
	m := &team{lan: lab.NewLAN(t)}
	m.head = m.node(t, "head")
	const file = "/root/init.yaml"
	m.head.WriteFile(t, file, fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens: [{token: %s}]
certificateKey: %s
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
failCgroupV1: false # for the kubelets of upstream
failSwapOn: false
`, token, certificateKey))
	m.head.Boot(t, append([]string{"init", "--config", file}, more...)...)
	block, _ := pem.Decode([]byte(m.head.ReadFile(t, "/etc/kubernetes/pki/ca.crt")))
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	m.hash = discovery.Hash(ca)
	lab.Must(t, m.head.Signed(t.Context(), token))
	return m
}

// node returns one more machine on the network, which has the images.
func (m *team) node(t testing.TB, name string) *lab.Node {
	t.Helper()
	n := m.lan.Node(t, name)
	n.Share(t)
	t.Cleanup(func() { checkLog(t, n) })
	return n
}

// server is the API server of the first control plane.
func (m *team) server() string { return m.head.IP.String() + ":6443" }

// join are the arguments with which a worker joins.
func (m *team) join(more ...string) []string {
	return append([]string{"join", m.server(), "--token", token, "--discovery-token-ca-cert-hash", m.hash}, more...)
}

// On a fresh machine, one command makes a worker of the cluster, and the same
// command again finds nothing to do, also when the token is gone.
func TestJoinWorker(t *testing.T) {
	m := newTeam(t)
	w := m.node(t, "worker")
	client := m.head.Client(t, adminConf)
	t.Run("a dry run changes nothing", func(t *testing.T) { checkJoinDry(t, m, w) })
	w.Boot(t, m.join()...)
	t.Run("the node is Ready", func(t *testing.T) { nodeReady(t, m, "worker") })
	t.Run("the files are kubeadm's", func(t *testing.T) { checkWorkerFiles(t, w) })
	t.Run("kube-proxy runs", func(t *testing.T) {
		lab.Until(t, patience, "see kube-proxy Ready", func(ctx context.Context) error {
			return ready(ctx, client, "kube-proxy-worker")
		})
	})
	t.Run("its serving certificate is signed by the cluster", func(t *testing.T) {
		lab.Until(t, patience, "see the certificate", func(context.Context) error {
			const path = "/var/lib/kubelet/pki/kubelet-server-current.pem"
			if !w.Exists(t, path) {
				return fmt.Errorf("%s is not there", path)
			}
			return nil
		})
	})
	t.Run("logs of its pods", func(t *testing.T) {
		lab.Until(t, patience, "read the log", func(ctx context.Context) error {
			log, err := client.CoreV1().Pods("kube-system").GetLogs("kube-proxy-worker", &corev1.PodLogOptions{}).DoRaw(ctx)
			if err == nil && !strings.Contains(string(log), "kube-proxy running") {
				err = fmt.Errorf("log of kube-proxy: %s", log)
			}
			return err
		})
	})
	t.Run("the same again changes nothing", func(t *testing.T) {
		m.head.Kubectl(t, "-n", "kube-system", "delete", "secret", "bootstrap-token-"+token[:6])
		out, err := w.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.join()...)...)
		if err != nil || out.Code != 0 || strings.Contains("\n"+out.Stderr, "\n[") { // a change
			t.Errorf("%v, exit code %d: %s", err, out.Code, out.Stderr)
		}
	})
}

func checkJoinDry(t *testing.T, m *team, w *lab.Node) {
	before := w.State(t)
	out, err := w.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.join("--dry-run")...)...)
	if err != nil || out.Code != 0 {
		t.Fatalf("%v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	for _, want := range []string{
		"[kubelet-start] would write /etc/kubernetes/pki/ca.crt",
		"[kubelet-start] would write /etc/kubernetes/bootstrap-kubelet.conf",
		"[kubelet-start] would start the kubelet loop",
		"[kubelet-wait-bootstrap] would wait for the certificate of node worker",
		"[addon/kube-proxy] would write /etc/kubernetes/manifests/kube-proxy.yaml",
	} {
		if !strings.Contains(out.Stderr, want) {
			t.Errorf("it does not say %q:\n%s", want, out.Stderr)
		}
	}
	if strings.Contains(out.Stdout+out.Stderr, token[7:]) {
		t.Error("it tells the token")
	}
	if diff := cmp.Diff(before, w.State(t)); diff != "" {
		t.Errorf("state (-before +after):\n%s", diff)
	}
}

// nodeReady waits until a node is Ready and without taints.
func nodeReady(t *testing.T, m *team, name string, taints ...corev1.Taint) {
	t.Helper()
	client := m.head.Client(t, adminConf)
	lab.Until(t, patience, "see the node Ready", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if (c.Type == corev1.NodeReady) != (c.Status == corev1.ConditionTrue) {
				return fmt.Errorf("node is %s=%s: %s", c.Type, c.Status, c.Message)
			}
		}
		if diff := cmp.Diff(taints, node.Spec.Taints); diff != "" {
			return fmt.Errorf("taints (-want +got):\n%s", diff)
		}
		return nil
	})
}

// checkWorkerFiles compares everything below /etc/kubernetes.
func checkWorkerFiles(t *testing.T, w *lab.Node) {
	t.Helper()
	got := strings.Split(strings.TrimSpace(w.Run(t, "find", "/etc/kubernetes", "-type", "f", "-printf", `%P %m\n`)), "\n")
	slices.Sort(got)
	if diff := cmp.Diff([]string{"kubelet.conf 600", "manifests/kube-proxy.yaml 600", "pki/ca.crt 644"}, got); diff != "" {
		t.Errorf("files below /etc/kubernetes (-want +got):\n%s", diff)
	}
}
