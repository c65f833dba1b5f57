package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestLoadJoin runs the cases in testdata/join, like those of TestLoadInit.
func TestLoadJoin(t *testing.T) {
	cases, err := filepath.Glob("testdata/join/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			o := JoinOptions{Host: testHost()}
			want := ""
			for _, f := range ar.Files {
				switch f.Name {
				case "flags.json":
					if err := json.Unmarshal(f.Data, &o.Flags); err != nil {
						t.Fatal(err)
					}
				case "want":
					want = string(f.Data)
				default:
					o.Path, o.Data = f.Name, f.Data
				}
			}
			got := showJoin(LoadJoin(o))
			if *update {
				last := len(ar.Files) - 1
				if ar.Files[last].Name != "want" {
					ar.Files, last = append(ar.Files, txtar.File{Name: "want"}), last+1
				}
				ar.Files[last].Data = []byte(got)
				if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func showJoin(j *Join, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, w := range j.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	for _, doc := range []any{j.Join, j.Boot} {
		data, err := yaml.Marshal(doc)
		if err != nil {
			return err.Error()
		}
		b.WriteString("---\n")
		b.Write(brief(data))
	}
	return b.String()
}

func joining(t *testing.T, flags JoinFlags) *Join {
	t.Helper()
	flags.Endpoint, flags.Token, flags.SkipCAVerification = "192.0.2.1", "abcdef.0123456789abcdef", true
	j, err := LoadJoin(JoinOptions{Host: testHost(), Flags: flags})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

const storedCluster = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.36.1\n" +
	"networking: {podSubnet: 10.1.0.0/16, serviceSubnet: 10.2.0.0/16}\nfieldOfTomorrow: 1\n"

const storedKubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS: [10.2.0.10]\n"

// A node follows what the cluster says, and leaves to others what boot did not
// bring along.
func TestNodeOfUpstreamCluster(t *testing.T) {
	shared, err := DecodeShared(SharedDocuments{Cluster: storedCluster, Kubelet: storedKubelet})
	if err != nil {
		t.Fatal(err)
	}
	i := joining(t, JoinFlags{}).Node(*shared, "192.0.2.1:6443")
	if i.Cluster.KubernetesVersion != "v1.36.1" || i.Cluster.Networking.PodSubnet != "10.1.0.0/16" || i.Kubelet.ClusterDNS[0] != "10.2.0.10" {
		t.Errorf("cluster %+v, DNS %q", i.Cluster, i.Kubelet.ClusterDNS)
	}
	if !i.Cluster.Proxy.Disabled || i.Boot.Network != NetworkNone {
		t.Errorf("kube-proxy disabled %t, network %q", i.Cluster.Proxy.Disabled, i.Boot.Network)
	}
	if len(i.Init.NodeRegistration.Taints) > 0 || i.Init.LocalAPIEndpoint.AdvertiseAddress != "192.0.2.10" {
		t.Errorf("node %+v at %+v", i.Init.NodeRegistration, i.Init.LocalAPIEndpoint)
	}
}

func TestNodeOfBootCluster(t *testing.T) {
	shared, err := DecodeShared(SharedDocuments{
		Cluster: storedCluster, Kubelet: storedKubelet,
		KubeProxy: "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: iptables\n",
		Boot:      "apiVersion: boot.internal/v1\nkind: BootConfiguration\nnetwork: none\nimagesDir: /theirs\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	i := joining(t, JoinFlags{ControlPlane: true}).Node(*shared, "")
	if i.Cluster.Proxy.Disabled || i.KubeProxy.Mode != "iptables" || i.Boot.Network != NetworkNone || i.Boot.ImagesDir != DefaultImagesDir {
		t.Errorf("kube-proxy %+v, boot %+v", i.KubeProxy, i.Boot)
	}
	if want := []corev1.Taint{{Key: controlPlaneLabel, Effect: corev1.TaintEffectNoSchedule}}; !cmp.Equal(want, i.Init.NodeRegistration.Taints) {
		t.Errorf("taints %v", i.Init.NodeRegistration.Taints)
	}
	own := joining(t, JoinFlags{})
	own.Boot.Network = NetworkBridge
	if i := own.Node(*shared, ""); i.Boot.Network != NetworkBridge {
		t.Errorf("the user's word does not count: %q", i.Boot.Network)
	}
}

func TestDecodeSharedRefuses(t *testing.T) {
	for name, d := range map[string]SharedDocuments{
		"nothing":        {},
		"other version":  {Cluster: strings.Replace(storedCluster, "v1beta4", "v1beta3", 1), Kubelet: storedKubelet},
		"other kind":     {Cluster: storedKubelet, Kubelet: storedKubelet},
		"no YAML":        {Cluster: storedCluster, Kubelet: "{"},
		"wrong types":    {Cluster: storedCluster, Kubelet: storedKubelet + "maxPods: many\n"},
		"odd kube-proxy": {Cluster: storedCluster, Kubelet: storedKubelet, KubeProxy: storedKubelet},
		"odd boot":       {Cluster: storedCluster, Kubelet: storedKubelet, Boot: storedKubelet},
	} {
		if s, err := DecodeShared(d); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestNewBootstrapToken(t *testing.T) {
	made, err := NewBootstrapToken(TokenOptions{})
	if err != nil || len(made.Token.Reveal()) != 23 || len(made.Usages) != 2 || len(made.Groups) != 1 {
		t.Errorf("made %+v, %v", made, err)
	}
	for _, o := range []TokenOptions{{Token: "short"}, {Usages: []string{"fun"}}, {Groups: []string{"admins"}}, {TTL: -1}} {
		if _, err := NewBootstrapToken(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
