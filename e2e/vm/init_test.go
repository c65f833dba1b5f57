//go:build vm

package main

import (
	"strings"
	"testing"
)

// Patience is a configuration for a machine that is emulated.
const patience = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  ignorePreflightErrors: [NumCPU]
timeouts:
  controlPlaneComponentHealthCheck: 50m0s
  kubernetesAPICall: 10m0s
  kubeletHealthCheck: 10m0s
`

const kubectl = "/payload/kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=60s "

// A whole cluster on a host with systemd: the loop is a service of it, pods are in
// its slices, all comes back after a restart of the machine, and goes with reset.
func TestInit(t *testing.T) {
	h := newHost(t)
	before := h.sh(t, quick, traces)
	h.sh(t, quick, "cat > /etc/boot.yaml <<'E'"+patience+"E")
	h.sh(t, birth, "/payload/boot init --config /etc/boot.yaml")
	allReady(t, h)

	t.Run("service", func(t *testing.T) { service(t, h) })
	t.Run("slices", func(t *testing.T) {
		scopes := h.sh(t, quick, "ls -d /sys/fs/cgroup/kubepods.slice/*.slice/*.slice/*.scope")
		if err := has("cri-containerd-", "kubepods-burstable-pod")(scopes); err != nil {
			t.Errorf("%v in\n%s", err, scopes)
		}
		if v := h.sh(t, quick, "cat /sys/fs/cgroup/kubepods.slice/memory.max"); strings.TrimSpace(v) == "max" {
			t.Error("all pods together may use all there is")
		}
	})
	t.Run("restart of systemd", func(t *testing.T) {
		h.sh(t, quick, "systemctl daemon-reexec; systemctl daemon-reload")
		h.sh(t, quick, kubectl+"run after --image=boot.internal/testbox:1 --restart=Never --overrides='"+tolerant+"' --command -- /testbox sleep 1s")
		h.until(t, slow, kubectl+"get pod after -o jsonpath={.status.phase}", has("Succeeded"))
	})
	t.Run("reboot", func(t *testing.T) {
		h.sh(t, quick, "systemctl --no-block reboot")
		h.down(t)
		h.start(t)
		allReady(t, h)
	})
	t.Run("reset", func(t *testing.T) {
		h.sh(t, slow, "/payload/boot reset --force --purge")
		if after := h.sh(t, quick, traces); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

// tolerant are pods that run on a control plane.
const tolerant = `{"spec":{"tolerations":[{"operator":"Exists"}]}}`

// traces prints what boot could leave on a host.
const traces = `systemctl list-units --all --plain --no-legend 'boot*' 'kubepods*' 'cri-containerd*'
ls -d /sys/fs/cgroup/*pods* /etc/systemd/system/boot* /etc/systemd/logind.conf.d/* 2>/dev/null
ls /etc/kubernetes /var/lib/kubelet /etc/cni/net.d /run/boot 2>/dev/null
nft list tables; ip -br link | cut -d' ' -f1 | sort; grep -E 'kubelet|containerd' /proc/mounts; true`

func allReady(t *testing.T, h host) {
	t.Helper()
	h.until(t, birth, kubectl+"wait --timeout=0 --for=condition=Ready node --all", has("condition met"))
	h.until(t, birth, kubectl+"wait --timeout=0 -n kube-system --for=condition=Available deployment/coredns", has("condition met"))
	h.until(t, slow, kubectl+"wait --timeout=0 -n kube-system --for=condition=Ready pod -l tier=control-plane", has("condition met"))
}

// The unit is enabled and active; a loop that is killed starts again, and no pod
// notices.
func service(t *testing.T, h host) {
	state := "systemctl show boot-kubelet -p ActiveState,UnitFileState,KillMode,Delegate,Restart,LimitNOFILE,NRestarts"
	want := []string{"ActiveState=active", "UnitFileState=enabled", "KillMode=process", "Delegate=yes", "Restart=always", "LimitNOFILE=1048576"}
	if err := has(want...)(h.sh(t, quick, state)); err != nil {
		t.Error(err)
	}
	if err := has("container engine answers")(h.sh(t, quick, "journalctl -u boot-kubelet --no-pager -o cat")); err != nil {
		t.Error(err)
	}
	shims := "pgrep -f containerd-shim-runc-v2 | sort | head -c 4000"
	before := h.sh(t, quick, shims)
	h.sh(t, quick, "systemctl kill --kill-whom=main -s KILL boot-kubelet")
	h.until(t, slow, state, has("NRestarts=1", "ActiveState=active"))
	if after := h.sh(t, quick, shims); !strings.HasPrefix(after, before) {
		t.Errorf("pods have changed:\n%s\n%s", before, after)
	}
}
