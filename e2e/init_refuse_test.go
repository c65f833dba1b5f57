package e2e

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/e2e/internal/lab"
)

// What cannot work is refused before anything is written, and a dry run says
// what would be done without doing any of it.
func TestInitWithoutChanges(t *testing.T) {
	n := machine(t)
	const path = "/root/boot.yaml"
	n.WriteFile(t, path, "") // so that it is part of the state
	n.Remove(t, path)
	before := n.State(t)

	const cluster = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
	for _, c := range []struct {
		name   string
		config string
		args   []string
		code   int
		says   []string // on stderr
	}{
		{
			name: "dry run", args: []string{"--dry-run"},
			says: []string{
				"[kubelet-start] would start the kubelet loop",
				"[certs/ca] would write /etc/kubernetes/pki/ca.key",
				"[etcd/local] would write /etc/kubernetes/manifests/etcd.yaml",
				"[wait-control-plane] would wait for etcd, kube-apiserver, kube-controller-manager, kube-scheduler",
				"[upload-config/kubeadm] would create ConfigMap kube-system/kubeadm-config",
				"[mark-control-plane] would",
			},
		},
		{
			name: "unknown flag", args: []string{"--no-such-flag"}, code: 3,
			says: []string{"error: unknown flag: --no-such-flag", "hint: "},
		},
		{
			name: "unknown field", config: cluster + "networking:\n  podSubnets: 10.1.0.0/16\n", code: 3,
			says: []string{"error: ", "boot.yaml", "line 4", "networking.podSubnets"},
		},
		{
			name: "wrong type", config: cluster + "networking:\n  podSubnet:\n  - 10.1.0.0/16\n", code: 3,
			says: []string{"error: ", "boot.yaml", "line 5", "networking.podSubnet", "expected a string"},
		},
		{
			name: "no YAML", config: cluster + "networking: {\n", code: 3,
			says: []string{"error: ", "boot.yaml", "line"},
		},
		{
			name: "no such file", args: []string{"--config", "/root/none.yaml"}, code: 3,
			says: []string{"error: ", "/root/none.yaml"},
		},
		{
			name: "foreign address", args: []string{"--apiserver-advertise-address", "192.0.2.1"}, code: 3,
			says: []string{"error: ", "192.0.2.1 is not an address of this host; this host has 10.77.0.2"},
		},
		{
			name: "unsupported version", args: []string{"--kubernetes-version", "v1.20.0"}, code: 3,
			says: []string{"error: ", "v1.20.0", "not supported"},
		},
		{
			name: "overlapping ranges", args: []string{"--pod-network-cidr", "10.96.0.0/16"}, code: 3,
			says: []string{"error: ", "10.96.0.0/16 overlaps with the service subnet 10.96.0.0/12"},
		},
		{
			name: "pods on the host's network", args: []string{"--pod-network-cidr", "10.77.0.0/16"}, code: 3,
			says: []string{"error: ", "10.77.0.0/16 overlaps with this host's network 10.77.0.0/24"},
		},
		{
			name: "unknown phase", args: []string{"--skip-phases", "certs/none"}, code: 3,
			says: []string{"error: ", "certs/none"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{lab.BootBinary(t), "init"}, c.args...)
			if c.config != "" {
				n.WriteFile(t, path, c.config)
				args = append(args, "--config", path)
			}
			out, err := n.Try(t.Context(), args...)
			n.Remove(t, path)
			if err != nil || out.Code != c.code {
				t.Errorf("%v, exit code %d, want %d", err, out.Code, c.code)
			}
			for _, text := range c.says {
				if !strings.Contains(out.Stderr, text) {
					t.Errorf("it does not say %q", text)
				}
			}
			if t.Failed() {
				t.Log(out.Stderr)
			}
			if diff := cmp.Diff(before, n.State(t)); diff != "" {
				t.Errorf("the machine (-before +after):\n%s", diff)
			}
		})
	}
}
