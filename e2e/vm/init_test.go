//go:build vm

package main

import (
	"fmt"
	"strings"
	"testing"
)

// Patience is a configuration for a machine that is emulated: etcd may take its time
// to answer, and nobody is taken for dead because of that.
const patience = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  ignorePreflightErrors: [NumCPU]
patches:
  directory: /etc/patches
timeouts:
  controlPlaneComponentHealthCheck: 50m0s
  kubernetesAPICall: 10m0s
  kubeletHealthCheck: 10m0s
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd: {local: {extraArgs: [{name: heartbeat-interval, value: "2000"}, {name: election-timeout, value: "20000"}]}}
controllerManager: {extraArgs: [{name: leader-elect, value: "false"}]}
scheduler: {extraArgs: [{name: leader-elect, value: "false"}]}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
runtimeRequestTimeout: 15m
`

// seldom has components asked for their health now and then: each time is work.
const seldom = `mkdir /etc/patches; for c in etcd kube-apiserver; do cat > /etc/patches/$c+strategic.yaml <<E
spec:
  containers:
  - name: $c
    startupProbe: {periodSeconds: 10, timeoutSeconds: 60, failureThreshold: 300}
    livenessProbe: {periodSeconds: 60, timeoutSeconds: 60, failureThreshold: 30}
    readinessProbe: {periodSeconds: 20, timeoutSeconds: 60, failureThreshold: 3}
E
done
`

const kubectl = "/payload/kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout=60s "

// A whole cluster on a host with systemd: the loop is a service of it, pods are in
// its slices, all comes back after a restart of the machine, and goes with reset.
func TestInit(t *testing.T) {
	h := newHost(t)
	before := h.sh(t, quick, traces)
	h.sh(t, quick, seldom+"cat > /etc/boot.yaml <<'E'"+patience+"E")
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
	t.Run("resize", func(t *testing.T) { resized(t, h) })
	t.Run("certificates", func(t *testing.T) { renewed(t, h) })
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

// A pod that runs is given more memory, which its groups of version 2 say, and those
// of systemd; it is not started again.
func resized(t *testing.T, h host) {
	const limit = `"resources":{"limits":{"memory":"%s"},"requests":{"memory":"16Mi"}}`
	h.sh(t, quick, kubectl+"run grows --image=boot.internal/testbox:1 --restart=Never --overrides='"+
		`{"spec":{"tolerations":[{"operator":"Exists"}],"terminationGracePeriodSeconds":0,"containers":[{"name":"grows","image":"boot.internal/testbox:1","command":["/testbox","sleep","24h"],`+
		fmt.Sprintf(limit, "32Mi")+"}]}}'")
	h.until(t, slow, kubectl+"get pod grows -o jsonpath={.status.phase}", has("Running"))
	h.sh(t, quick, kubectl+`patch pod grows --subresource resize -p '{"spec":{"containers":[{"name":"grows",`+fmt.Sprintf(limit, "64Mi")+`}]}}'`)
	h.until(t, slow, kubectl+"get pod grows -o jsonpath='{.status.containerStatuses[0].resources.limits.memory} {.status.containerStatuses[0].restartCount}'", has("64Mi 0"))
	h.sh(t, quick, "systemctl daemon-reload") // which takes back what systemd was not told
	group := "/sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod$(" + kubectl + "get pod grows -o jsonpath={.metadata.uid} | tr - _).slice"
	if got := h.sh(t, quick, "cd "+group+"; cat memory.max */memory.max"); strings.Count(got, "67108864\n") != 2 {
		t.Errorf("memory.max of the pod and those in it: %s", got)
	}
	h.sh(t, quick, kubectl+"delete pod grows --wait=false")
}

// A certificate is renewed, and who serves with it is started again; the service goes
// on as it is.
func renewed(t *testing.T, h host) {
	const (
		file = "sha256sum /etc/kubernetes/pki/apiserver.crt"
		unit = "systemctl show boot-kubelet -p ActiveState,MainPID,NRestarts"
	)
	certificate, service := h.sh(t, quick, file), h.sh(t, quick, unit)
	h.sh(t, birth, "/payload/boot certs renew apiserver")
	if now := h.sh(t, quick, file); now == certificate {
		t.Error("the certificate is the same")
	}
	if now := h.sh(t, quick, unit); now != service {
		t.Errorf("before:\n%s\nafter:\n%s", service, now)
	}
	allReady(t, h)
}
