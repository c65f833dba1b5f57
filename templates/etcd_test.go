package templates

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// The flags of one that joins are those of kubeadm's: the whole cluster, which
// exists; the rest is as for the first member.
func TestEtcdOfAJoiningNode(t *testing.T) {
	cfg := load(t, "default")
	in := inputs(t, cfg)
	first := etcdFlags(t, in)
	in.EtcdCluster = "cp1=https://192.0.2.1:2380,node-1=" + EtcdPeerURL(cfg)
	joined := etcdFlags(t, in)
	for _, want := range []string{"--initial-cluster=" + in.EtcdCluster, "--initial-cluster-state=existing"} {
		if !slices.Contains(joined, want) {
			t.Errorf("no %s in %q", want, joined)
		}
	}
	others := func(flags []string) []string {
		return slices.DeleteFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--initial-cluster") })
	}
	if a, b := others(first), others(joined); !slices.Equal(a, b) {
		t.Errorf("%q\n%q", a, b)
	}
}

func etcdFlags(t *testing.T, in Inputs) []string {
	t.Helper()
	m, err := Etcd(load(t, "default"), in)
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.Unmarshal(m.Data, &pod); err != nil {
		t.Fatal(err)
	}
	return pod.Spec.Containers[0].Command
}
