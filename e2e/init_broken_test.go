package e2e

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"boot.internal/e2e/internal/lab"
)

// Init tells why a component does not come up, as soon as that is known, and
// goes on from there once it is put right.
func TestInitComponentDoesNotComeUp(t *testing.T) {
	n := machine(t)
	const path = "/root/boot.yaml"
	const noImage = clusterDoc + "etcd:\n  local:\n    imageTag: none\n"
	const impatient = initDoc + "timeouts:\n  controlPlaneComponentHealthCheck: 3s\n" + noImage
	broken := func(t *testing.T, doc string) string {
		t.Helper()
		n.WriteFile(t, path, doc)
		out, err := n.Try(t.Context(), lab.BootBinary(t), "init", "--config", path)
		if err != nil || out.Code != 1 {
			t.Errorf("%v, exit code %d, want 1", err, out.Code)
		}
		return out.Stderr
	}
	says := func(t *testing.T, stderr string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(stderr, text) {
				t.Errorf("it does not say %q:\n%s", text, stderr)
			}
		}
	}

	t.Run("interrupted while waiting", func(t *testing.T) {
		n.WriteFile(t, path, noImage)
		stderr, code := interrupt(t, n, "[wait-control-plane] waiting:", syscall.SIGINT, "--config", path)
		says(t, stderr, "error: phase wait-control-plane: ", "while waiting for etcd, kube-apiserver")
		if code != 1 {
			t.Errorf("exit code %d", code)
		}
	})
	t.Run("image that does not exist", func(t *testing.T) {
		lab.Until(t, patience, "see the loop fail", func(context.Context) error {
			for line := range strings.Lines(n.ReadFile(t, loopLog)) {
				if _, err, _ := strings.Cut(line, " err="); strings.Contains(err, "etcd:none") {
					return nil
				}
			}
			return errors.New("it has not")
		})
		says(t, broken(t, impatient), "error: phase wait-control-plane: ", "etcd is not healthy after 3s",
			`etcd has no container yet: start etcd: `, `image "registry.k8s.io/etcd:none": `, "hint: ", loopLog)
	})
	t.Run("flag that does not exist", func(t *testing.T) {
		stderr := broken(t, clusterDoc+"apiServer:\n  extraArgs:\n  - name: no-such-flag\n    value: x\n")
		says(t, stderr, "error: phase wait-control-plane: ", "kube-apiserver ended ",
			"container kube-apiserver exited with code 1", "unknown flag: --no-such-flag", "hint: ", "/var/log/pods/")
	})
	t.Run("put right", func(t *testing.T) {
		n.WriteFile(t, path, clusterDoc+"apiServer:\n  extraArgs:\n  - name: v\n    value: \"1\"\n")
		n.Boot(t, "init", "--config", path)
		waitReady(t, n, "etcd", "kube-apiserver") // the scheduler takes its time after an outage
		if args := n.Kubectl(t, "get", "pod", "-n", "kube-system", "kube-apiserver-"+n.Name, "-o", "jsonpath={.spec.containers[0].command}"); !strings.Contains(args, `"--v=1"`) {
			t.Errorf("kube-apiserver runs with %s", args)
		}
	})
}

const (
	clusterDoc = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
	initDoc    = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n"
)
