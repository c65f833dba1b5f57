package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// What cannot work is refused within seconds, each with its own words, and leaves
// the host as it was but for what any node needs of it.
func TestJoinRefused(t *testing.T) {
	m := newTeam(t)
	w := m.node(t, "worker")
	m.expiring(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
		hint string
	}{
		{"nothing", []string{"join"}, 3, "nothing says how to find the cluster", "boot join ADDR:PORT"},
		{"no hash", []string{"join", m.server(), "--token", token}, 3, "which authority the cluster has", "--discovery-token-unsafe-skip-ca-verification"},
		{"no token", []string{"join", m.server(), "--discovery-token-ca-cert-hash", m.hash}, 3, "not a bootstrap token", ""},
		{"two servers", m.join("10.77.0.9:6443"), 3, "accepts at most 1 arg", ""},
		{"unknown phase", m.join("--skip-phases", "kubelet-stop"), 3, `no phase is called "kubelet-stop"`, "kubelet-start"},
		{"wrong secret", m.with("--token", "e2etok.fedcba9876543210"), 1, "has a token e2etok, but with another secret", "boot token create"},
		{"unknown token", m.with("--token", "notoke.0123456789abcdef"), 1, "has no token notoke: it has expired or is mistyped", "boot token create"},
		{"expired token", m.with("--token", expired), 1, "has no token expire: it has expired or is mistyped", "boot token create"},
		{"token for nothing", m.with("--tls-bootstrap-token", "notoke.0123456789abcdef"), 1, "does not accept the token", "boot token create"},
		{"wrong hash", []string{"join", m.server(), "--token", token, "--discovery-token-ca-cert-hash", "sha256:" + strings.Repeat("ab", 32)}, 1, "and not the one that is pinned", "boot token create"},
		{"nobody listens", []string{"join", m.head.IP.String() + ":7443", "--token", token, "--discovery-token-ca-cert-hash", m.hash}, 1, "connection refused", "check address and port"},
		{"no such host", []string{"join", "10.77.0.99:6443", "--token", token, "--discovery-token-ca-cert-hash", m.hash}, 1, "reach the API server at https://10.77.0.99:6443", "firewall"},
		{"name taken", m.join("--node-name", "head"), 1, "has a node head, and it is Ready", "--node-name"},
		{"no such file", []string{"join", "--discovery-file", "/root/none.conf", "--tls-bootstrap-token", token}, 1, "/root/none.conf: it is not there", "kubeconfig"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A name is only taken by a node that is well.
			nodeReady(t, m, "head", corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule})
			m.refused(t, w, c.args, c.code, c.says, c.hint)
		})
	}
	t.Run("cluster too old", func(t *testing.T) {
		m.patchVersion(t, "v1.37.2", "v1.30.0")
		m.refused(t, w, m.join(), 1, "too far apart for a node", "upgrade the cluster first")
		m.patchVersion(t, "v1.30.0", "v1.37.2")
	})
	for _, dir := range []string{"/etc/kubernetes", "/var/lib/kubelet"} {
		if w.Exists(t, dir) {
			t.Errorf("%s is there", dir)
		}
	}
	if loops := w.Find(t, filepath.Base(lab.BootBinary(t)), " kubelet "); len(loops) > 0 {
		t.Errorf("the loop runs: %v", loops)
	}
}

// expired is a token that the cluster once had.
const expired = "expire.0123456789abcdef"

// expiring gives the cluster a token that has ended when this returns. The other one
// is known by then.
func (m *team) expiring(t *testing.T) {
	t.Helper()
	end := time.Now().Add(4 * time.Second).UTC().Format(time.RFC3339)
	m.head.Kubectl(t, "-n", "kube-system", "create", "secret", "generic", "bootstrap-token-expire", "--type=bootstrap.kubernetes.io/token",
		"--from-literal=token-id=expire", "--from-literal=token-secret="+expired[7:], "--from-literal=expiration="+end,
		"--from-literal=usage-bootstrap-signing=true", "--from-literal=usage-bootstrap-authentication=true")
	client := m.head.Client(t, adminConf)
	lab.Until(t, patience, "see the token end", func(ctx context.Context) error {
		if _, err := client.CoreV1().Secrets("kube-system").Get(ctx, "bootstrap-token-expire", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the Secret is there: %w", err)
		}
		// It is looked at after that, as it is not signed anew then.
		info, err := client.CoreV1().ConfigMaps("kube-public").Get(ctx, "cluster-info", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if info.Data["jws-kubeconfig-expire"] != "" || info.Data["jws-kubeconfig-"+token[:6]] == "" {
			return fmt.Errorf("cluster-info is signed with it, or not with the other: %v", info.Data)
		}
		return nil
	})
}

// with are the arguments of join with another value for a flag.
func (m *team) with(flag, value string) []string {
	args := m.join()
	for i := range args {
		if args[i] == flag {
			args[i+1] = value
			return args
		}
	}
	return append(args, flag, value)
}

func (m *team) refused(t *testing.T, w *lab.Node, args []string, code int, says, hint string) {
	t.Helper()
	begin := time.Now()
	out, err := w.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	if err != nil || out.Code != code || !strings.Contains(out.Stderr, says) || !strings.Contains(out.Stderr, hint) {
		t.Errorf("%v, exit code %d, want %d that says %q with a hint on %q:\n%s", err, out.Code, code, says, hint, out.Stderr)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("it took %s", took)
	}
	if strings.Contains(out.Stdout+out.Stderr, token[7:]) {
		t.Errorf("it tells the token:\n%s", out.Stderr)
	}
}

// patchVersion changes what the cluster says its version is.
func (m *team) patchVersion(t *testing.T, from, to string) {
	t.Helper()
	client := m.head.Client(t, adminConf).CoreV1().ConfigMaps("kube-system")
	c, err := client.Get(t.Context(), "kubeadm-config", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := c.Data["ClusterConfiguration"]
	c.Data["ClusterConfiguration"] = strings.Replace(before, "kubernetesVersion: "+from, "kubernetesVersion: "+to, 1)
	if cmp.Equal(before, c.Data["ClusterConfiguration"]) {
		t.Fatalf("no version %s in %s", from, before)
	}
	if _, err := client.Update(t.Context(), c, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}
