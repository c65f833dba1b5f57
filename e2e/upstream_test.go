package e2e

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
	"boot.internal/nstest"
)

const (
	upstreamSocket = "/run/containerd.sock"
	cniFile        = "/etc/cni/net.d/10-boot.conflist"
)

// upstreamCluster makes the node a cluster with kubeadm and the kubelet of
// upstream, on the same engine, images and CNI plugins that boot has: a test
// that fails on both says nothing of boot.
func upstreamCluster(t testing.TB, n *lab.Node) {
	t.Helper()
	startEngine(t, n)
	upstreamInit(t, n)
}

// upstreamInit brings the cluster up, and returns with kubeadm.
func upstreamInit(t testing.TB, n *lab.Node) {
	t.Helper()
	n.WriteFile(t, "/etc/kubeadm.yaml", upstreamKubeadm)
	n.WriteFile(t, cniFile, upstreamCNI)
	startKubelet(t, n)
	kubeadm(t, n, "init", "--config=/etc/kubeadm.yaml", "--ignore-preflight-errors=all", "--node-name="+n.Name)
}

// kubeadm runs upstream's, which is to succeed, and returns what it printed.
func kubeadm(t testing.TB, n *lab.Node, args ...string) string {
	t.Helper()
	return n.Run(t, append([]string{lab.Component(t, "bin/kubeadm")}, args...)...)
}

// startKubelet starts upstream's as soon as kubeadm has made its configuration, as
// its service would.
func startKubelet(t testing.TB, n *lab.Node) {
	t.Helper()
	kubelet := n.Command(context.WithoutCancel(t.Context()), "sh", "-c",
		"until test -e /var/lib/kubelet/config.yaml; do sleep 0.2; done; exec "+lab.Component(t, "bin/kubelet")+" "+
			"--kubeconfig=/etc/kubernetes/kubelet.conf --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf "+
			"--config=/var/lib/kubelet/config.yaml --hostname-override="+n.Name+" >/var/log/kubelet.log 2>&1")
	background(t, n, kubelet)
}

// startEngine starts the engine that boot carries, as a service would, and
// gives it the images.
func startEngine(t testing.TB, n *lab.Node) {
	t.Helper()
	bin := filepath.Dir(lab.Component(t, "engine/bin/containerd"))
	n.WriteFile(t, "/etc/containerd/config.toml", nstest.Containerd{Bin: bin, Socket: upstreamSocket, CNI: "/etc/cni/net.d"}.Config(t))
	engine := n.Command(context.WithoutCancel(t.Context()), "sh", "-c",
		"PATH="+bin+":$PATH exec "+bin+"/containerd --config /etc/containerd/config.toml >/var/log/containerd.log 2>&1")
	background(t, n, engine)
	for _, archive := range []string{"bundle.tar.zst", "*.tar"} {
		lab.Until(t, 10*time.Minute, "import "+archive, func(ctx context.Context) error {
			out, err := n.Try(ctx, "sh", "-c", "for f in /var/lib/boot/images/"+archive+"; do case $f in *.zst) zstd -dcf $f;; *) cat $f;; esac | "+
				bin+"/ctr -a "+upstreamSocket+" -n k8s.io images import - || exit 1; done")
			if err == nil && out.Code != 0 {
				err = errors.New(out.Stderr)
			}
			return err
		})
	}
}

const upstreamKubeadm = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  criSocket: unix://` + upstreamSocket + `
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
networking:
  podSubnet: 10.244.0.0/16
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
imageGCHighThresholdPercent: 100
evictionHard:
  imagefs.available: "0%"
  nodefs.available: "0%"
cgroupDriver: cgroupfs
failSwapOn: false
failCgroupV1: false
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
conntrack:
  maxPerCore: 0
`

const upstreamCNI = `{
  "cniVersion": "1.0.0",
  "name": "boot",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": true, "ipam": {
      "type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"}
  ]
}
`

// background starts a program that runs for as long as the test.
func background(t testing.TB, n *lab.Node, cmd *exec.Cmd) {
	t.Helper()
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
}
