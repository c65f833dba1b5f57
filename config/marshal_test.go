package config

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

func kubeletType() reflect.Type { return reflect.TypeFor[kubeletv1beta1.KubeletConfiguration]() }

// What kubeadm v1.37.2 prints, boot reads, and writes again byte for byte: so
// its own ConfigMaps are to kubeadm what kubeadm's are.
func TestMarshalAsKubeadmDoes(t *testing.T) {
	data, err := os.ReadFile("testdata/kubeadm/init-defaults.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := decode("init-defaults.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	written := bytes.Split(data, []byte("---\n"))
	for n, marshal := range []func() ([]byte, error){
		docs.Cluster.Marshal,
		func() ([]byte, error) { return MarshalKubelet(docs.Kubelet) },
		func() ([]byte, error) { return MarshalKubeProxy(docs.KubeProxy) },
	} {
		got, err := marshal()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(written[n+1]), string(got)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestBootConfigurationIsReadBack(t *testing.T) {
	want := BootConfiguration{Engine: EngineSocket, Network: NetworkNone, ImagesDir: "/i", Log: LogConfiguration{MaxSizeMB: 1, MaxFiles: 2}}
	want.APIVersion, want.Kind = BootAPIVersion, kindBoot
	data, err := want.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := decode("boot.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, docs.Boot); diff != "" {
		t.Error(diff)
	}
}

func TestImage(t *testing.T) {
	standard := ClusterConfiguration{KubernetesVersion: "v1.37.2", ImageRepository: DefaultImageRepository, Etcd: Etcd{Local: &LocalEtcd{}}}
	moved := ClusterConfiguration{
		KubernetesVersion: "v1.37.2+build.1", ImageRepository: "mirror.example.org/k8s",
		Etcd: Etcd{Local: &LocalEtcd{ImageMeta: ImageMeta{ImageRepository: "quay.example.org", ImageTag: "9"}}},
		DNS:  DNS{ImageMeta: ImageMeta{ImageTag: "v2"}},
	}
	back := ClusterConfiguration{ImageRepository: "mirror.example.org", DNS: DNS{ImageMeta: ImageMeta{ImageRepository: DefaultImageRepository}}}
	tests := []struct {
		c               ClusterConfiguration
		component, want string
	}{
		{standard, ComponentAPIServer, "registry.k8s.io/kube-apiserver:v1.37.2"},
		{standard, ComponentControllerManager, "registry.k8s.io/kube-controller-manager:v1.37.2"},
		{standard, ComponentScheduler, "registry.k8s.io/kube-scheduler:v1.37.2"},
		{standard, ComponentProxy, "registry.k8s.io/kube-proxy:v1.37.2"},
		{standard, ComponentEtcd, "registry.k8s.io/etcd:3.7.0-0"},
		{standard, ComponentCoreDNS, "registry.k8s.io/coredns/coredns:v1.14.6"},
		{standard, ComponentPause, "registry.k8s.io/pause:3.10.2"},
		{standard, "kube-dns", ""},
		{moved, ComponentAPIServer, "mirror.example.org/k8s/kube-apiserver:v1.37.2_build.1"},
		{moved, ComponentEtcd, "quay.example.org/etcd:9"},
		{moved, ComponentCoreDNS, "mirror.example.org/k8s/coredns:v2"},
		{moved, ComponentPause, "mirror.example.org/k8s/pause:3.10.2"},
		{back, ComponentCoreDNS, "registry.k8s.io/coredns/coredns:v1.14.6"},
		{ClusterConfiguration{Etcd: Etcd{External: &ExternalEtcd{}}}, ComponentEtcd, "/etcd:3.7.0-0"},
	}
	for _, tt := range tests {
		if got := tt.c.Image(tt.component); got != tt.want {
			t.Errorf("image of %s: %s; want %s", tt.component, got, tt.want)
		}
	}
}

func TestServiceAddress(t *testing.T) {
	tests := []struct {
		subnet string
		index  int
		want   string
	}{
		{"10.96.0.0/12", DNSServiceIndex, "10.96.0.10"},
		{"10.96.0.0/12", KubernetesServiceIndex, "10.96.0.1"},
		{"fd00::/112,10.0.0.0/16", DNSServiceIndex, "fd00::a"},
		{"10.0.0.0/29", DNSServiceIndex, "invalid IP"},
		{"all", DNSServiceIndex, "invalid IP"},
	}
	for _, tt := range tests {
		got, err := Networking{ServiceSubnet: tt.subnet}.ServiceAddress(tt.index)
		if got.String() != tt.want || (err == nil) != got.IsValid() {
			t.Errorf("address %d of %s: %s, %v; want %s", tt.index, tt.subnet, got, err, tt.want)
		}
	}
}
