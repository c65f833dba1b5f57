package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const upgradeFile = `apiVersion: kubeadm.k8s.io/v1beta4
kind: UpgradeConfiguration
apply:
  kubernetesVersion: 1.37.1
  etcdUpgrade: false
  forceUpgrade: true
  certificateRenewal: false
  imagePullSerial: true
  skipPhases: [addon/coredns]
  patches: {directory: /etc/patches}
node:
  ignorePreflightErrors: [EtcdHealth]
  dryRun: true
diff: {contextLines: 5}
plan: {allowRCUpgrades: true}
`

// Each command has its part of the document, and the command line wins.
func TestLoadUpgrade(t *testing.T) {
	for _, c := range []struct {
		command UpgradeCommand
		flags   Upgrade
		want    Upgrade
	}{
		{UpgradeApply, Upgrade{Version: "v1.37.2", SkipPhases: []string{"preflight"}}, Upgrade{
			Version: "v1.37.2", Force: true, KeepEtcd: true, KeepCertificates: true, SkipPhases: []string{"preflight"}, Patches: &Patches{Directory: "/etc/patches"}, ContextLines: 3,
			Warnings: []string{
				"apply.imagePullSerial is not honoured: images come one after the other",
			},
		}},
		{UpgradeNode, Upgrade{IgnorePreflightErrors: []string{"all"}}, Upgrade{
			DryRun: true, IgnorePreflightErrors: []string{"EtcdHealth", "all"}, ContextLines: 3,
		}},
		{UpgradeDiff, Upgrade{Version: "1.37.2"}, Upgrade{Version: "v1.37.2", ContextLines: 5}},
		{UpgradePlan, Upgrade{}, Upgrade{Candidates: true, ContextLines: 3}},
	} {
		t.Run(string(c.command), func(t *testing.T) {
			got, err := LoadUpgrade(c.command, UpgradeOptions{Data: []byte(upgradeFile), Flags: c.flags})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreFields(Upgrade{}, "Timeouts"), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			if got.Timeouts == nil || got.Timeouts.UpgradeManifests == nil {
				t.Error("no timeouts")
			}
		})
	}
}

func TestLoadUpgradeRefuses(t *testing.T) {
	for data, want := range map[string]string{
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n":                                          "no UpgradeConfiguration",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\napply: {patches: {directory: here}}\n":   "apply.patches.directory",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\ntimeouts: {upgradeManifests: -1m}\n":     "timeouts.upgradeManifests",
		"apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\napply: {kubernetesVersion: [v1.37.2]}\n": "kubernetesVersion",
	} {
		if _, err := LoadUpgrade(UpgradeApply, UpgradeOptions{Data: []byte(data)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", data, err, want)
		}
	}
}

// What a node knows of itself makes it the same as when it joined or was first.
func TestMember(t *testing.T) {
	shared := Unasked()
	shared.Cluster.KubernetesVersion = "v1.36.3"
	m := Member{Name: "cp2", API: &APIEndpoint{AdvertiseAddress: "192.0.2.2", BindPort: 6443}, CRISocket: "unix:///run/x.sock"}
	i := m.Node(shared)
	if i.Init.LocalAPIEndpoint != *m.API || i.Init.NodeRegistration.Name != "cp2" || i.Init.NodeRegistration.CRISocket != m.CRISocket {
		t.Errorf("%+v", i.Init)
	}
	if i.Cluster.KubernetesVersion != "v1.36.3" || len(i.Init.NodeRegistration.Taints) != 1 {
		t.Errorf("version %s, taints %v", i.Cluster.KubernetesVersion, i.Init.NodeRegistration.Taints)
	}
	worker := Member{Name: "w1", Address: "192.0.2.9"}.Node(shared)
	if len(worker.Init.NodeRegistration.Taints) > 0 || worker.Init.Timeouts.UpgradeManifests == nil {
		t.Errorf("%+v", worker.Init)
	}
}

func TestSupportsVersion(t *testing.T) {
	for version, supported := range map[string]bool{DefaultKubernetesVersion: true, "v1.36.0": true, "v1.35.9": false, "v1.38.0": false, "1.37.2": false, "": false} {
		if err := SupportsVersion(version); (err == nil) != supported {
			t.Errorf("%q: %v", version, err)
		}
	}
}
