package e2e

import (
	"strings"
	"syscall"
	"testing"

	"boot.internal/e2e/internal/lab"
)

func (u *upgrade) refused(t *testing.T) {
	before := u.head.Run(t, "sha256sum", "/etc/kubernetes/manifests/kube-apiserver.yaml")
	for _, c := range []struct {
		node *lab.Node
		args []string
		code int
		want string
	}{
		{u.head, []string{"apply", "v1.35.5", "--yes", busy}, 2, "there is no way back to v1.35.5"},
		{u.head, []string{"apply", "v1.38.0", "--yes", busy}, 2, "would skip a minor version: go to v1.37 first"},
		{u.head, []string{"apply", "--yes"}, 3, "which version?"},
		{u.head, []string{"apply", newKubernetes, busy}, 3, "run it with --yes"},
		{u.head, []string{"apply", "phase", "control-plane", "v1.35.5"}, 2, "there is no way back to v1.35.5"},
		{u.worker, []string{"node", "phase", "kubelet-config"}, 2, "newer than kube-apiserver"},
		{u.worker, []string{"apply", newKubernetes, "--yes"}, 3, "this node is no control plane"},
		{u.worker, []string{"node"}, 2, "newer than kube-apiserver"},
	} {
		wantSaid(t, try(t, c.node, c.code, append([]string{"upgrade"}, c.args...)...), c.want)
	}
	if after := u.head.Run(t, "sha256sum", "/etc/kubernetes/manifests/kube-apiserver.yaml"); after != before {
		t.Error("a manifest has changed")
	}
}

func (u *upgrade) dryRun(t *testing.T) {
	said := try(t, u.head, 0, "upgrade", "apply", newKubernetes, "--dry-run", busy)
	wantSaid(t, said, "[etcd-snapshot] would save a snapshot of etcd", "[control-plane/etcd] would rewrite", "[kubelet-config] would install boot",
		"[upload-config/kubeadm] would update ConfigMap kube-system/kubeadm-config")
	said = try(t, u.head, 0, "upgrade", "apply", "phase", "control-plane/scheduler", newKubernetes, "--dry-run")
	wantSaid(t, said, "[begin] would note", "[control-plane/scheduler] would rewrite")
	if strings.Contains(said, "etcd") {
		t.Errorf("another phase than the one that was named:\n%s", said)
	}
	u.untouched(t)
}

// untouched checks that no upgrade has begun.
func (u *upgrade) untouched(t *testing.T) {
	t.Helper()
	if u.head.Exists(t, "/var/lib/boot/upgrade.json") {
		t.Error("it left a note")
	}
	if manifest := u.head.ReadFile(t, "/etc/kubernetes/manifests/etcd.yaml"); !strings.Contains(manifest, "/etcd:"+oldEtcd+"\n") {
		t.Errorf("the manifest is another one:\n%s", manifest)
	}
}

// What the configuration has of etcd, and what is put beside that.
const storedEtcd = "    dataDir: /var/lib/etcd\n"

// noImage is refused before anything is touched.
func (u *upgrade) noImage(t *testing.T) {
	const elsewhere = storedEtcd + "    imageRepository: 127.0.0.1:1\n"
	u.edit(t, storedEtcd, elsewhere)
	said := try(t, u.head, 1, "upgrade", "apply", newKubernetes, "--yes", busy)
	wantSaid(t, said, "phase preflight: get the image 127.0.0.1:1/etcd:"+newEtcd+": ")
	u.untouched(t)
	u.edit(t, elsewhere, storedEtcd)
}

// noEtcd has the upgrade meet an etcd that refuses its flags. Two members are no
// quorum without one: when the old one is back, so is the API, of the old version.
func (u *upgrade) noEtcd(t *testing.T) {
	const bad = storedEtcd + "    extraArgs: [{name: no-such-flag, value: \"1\"}]\n"
	u.edit(t, storedEtcd, bad)
	said := try(t, u.head, 1, "upgrade", "apply", newKubernetes, "--yes", busy)
	wantSaid(t, said, "etcd ended ", "no-such-flag", "etcd runs with its old manifest again, and is healthy")
	u.edit(t, bad, storedEtcd)
	u.await(t, u.head, oldKubernetes, oldEtcd)
	u.await(t, u.second, oldKubernetes, oldEtcd)
	if said := u.head.Kubectl(t, "version"); !strings.Contains(said, "Server Version: "+oldKubernetes) {
		t.Errorf("kubectl version: %s", said)
	}
}

// returns has the upgrade killed while its API server is being replaced, and then
// meet a scheduler that refuses its flags: that is as it was before.
func (u *upgrade) returns(t *testing.T) {
	const good, bad = "scheduler: {}", `scheduler: {extraArgs: [{name: no-such-flag, value: "1"}]}`
	u.edit(t, good, bad)
	cut(t, u.head, syscall.SIGKILL, []string{"upgrade", "apply", newKubernetes, "--yes", busy}, "[control-plane/apiserver] wait for")
	said := try(t, u.head, 1, "upgrade", "apply", newKubernetes, "--yes", busy)
	wantSaid(t, said, "kube-scheduler ended ", "unknown flag: --no-such-flag", "kube-scheduler runs with its old manifest again")
	manifest := u.head.ReadFile(t, "/etc/kubernetes/manifests/kube-scheduler.yaml")
	if !strings.Contains(manifest, "kube-scheduler:"+oldKubernetes) {
		t.Errorf("the manifest is another one:\n%s", manifest)
	}
	// The loop takes its own, as soon as it has run for ten minutes.
	if snapshots := u.head.Run(t, "ls", "/var/lib/boot/snapshots"); strings.Count(snapshots, "snapshot-") != 1 {
		t.Errorf("there are other snapshots than the one before the upgrade: %s", snapshots)
	}
	if said := u.head.Kubectl(t, "version"); !strings.Contains(said, "Server Version: "+newKubernetes) {
		t.Errorf("kubectl version: %s", said)
	}
	u.edit(t, bad, good)
}
