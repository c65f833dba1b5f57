package templates

import (
	"bytes"
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"boot.internal/config"
)

// addons renders all objects of a case, by the names of golden files.
func addons(t *testing.T, cfg *config.Init, p Patches) map[string][]*unstructured.Unstructured {
	t.Helper()
	out := map[string][]*unstructured.Unstructured{}
	for name, render := range map[string]func() ([]*unstructured.Unstructured, error){
		"coredns.yaml":         func() ([]*unstructured.Unstructured, error) { return CoreDNS(cfg, p) },
		"kube-proxy.yaml":      ProxyRBAC,
		"cluster-admins.yaml":  ClusterAdmins,
		"bootstrap-token.yaml": BootstrapTokenRBAC,
		"pod-network.yaml":     func() ([]*unstructured.Unstructured, error) { return PodNetwork(cfg) },
		"kubeadm-config.yaml":  func() ([]*unstructured.Unstructured, error) { return KubeadmConfig(cfg) },
		"kubelet-config.yaml":  func() ([]*unstructured.Unstructured, error) { return KubeletConfig(cfg) },
		"boot-config.yaml":     func() ([]*unstructured.Unstructured, error) { return BootConfig(cfg) },
		"cluster-info.yaml": func() ([]*unstructured.Unstructured, error) {
			return ClusterInfo([]byte("apiVersion: v1\nkind: Config\n"))
		},
	} {
		objects, err := render()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out[name] = objects
	}
	return out
}

func TestAddons(t *testing.T) {
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			cfg := load(t, name)
			got := map[string]string{}
			for file, objects := range addons(t, cfg, inputs(t, cfg).Patches) {
				got[file] = stream(t, objects)
			}
			dir := filepath.Join("testdata", name, "want-addons")
			if *update {
				writeAll(t, dir, got)
			}
			if diff := gocmp.Diff(readAll(t, dir), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// stream writes objects as one YAML stream, each checked against its type.
func stream(t *testing.T, objects []*unstructured.Unstructured) string {
	t.Helper()
	var out []string
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := decode(data, typeOf(t, o)); err != nil {
			t.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
		out = append(out, string(data))
	}
	return strings.Join(out, "---\n")
}

func typeOf(t *testing.T, o *unstructured.Unstructured) any {
	t.Helper()
	switch o.GetAPIVersion() + " " + o.GetKind() {
	case "v1 ServiceAccount":
		return &corev1.ServiceAccount{}
	case "v1 ConfigMap":
		return &corev1.ConfigMap{}
	case "v1 Service":
		return &corev1.Service{}
	case "v1 Secret":
		return &corev1.Secret{}
	case "apps/v1 Deployment":
		return &appsv1.Deployment{}
	case "rbac.authorization.k8s.io/v1 Role":
		return &rbacv1.Role{}
	case "rbac.authorization.k8s.io/v1 RoleBinding":
		return &rbacv1.RoleBinding{}
	case "rbac.authorization.k8s.io/v1 ClusterRole":
		return &rbacv1.ClusterRole{}
	case "rbac.authorization.k8s.io/v1 ClusterRoleBinding":
		return &rbacv1.ClusterRoleBinding{}
	}
	t.Fatalf("an unexpected %s %s", o.GetAPIVersion(), o.GetKind())
	return nil
}

// kubeadm-addons/coredns.yaml is what "kubeadm init phase addon coredns
// --print-manifest" of v1.37.2 wrote.
func TestCoreDNSIsThatOfKubeadm(t *testing.T) {
	paths, err := filepath.Glob("testdata/*/kubeadm-addons/coredns.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(filepath.Dir(path)))
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			docs, err := splitYAML(data)
			if err != nil {
				t.Fatal(err)
			}
			var want []*unstructured.Unstructured
			for _, doc := range docs {
				o := &unstructured.Unstructured{}
				if err := o.UnmarshalJSON(doc); err != nil {
					t.Fatal(err)
				}
				// An update needs it, server-side application must not have it.
				o.SetResourceVersion("")
				unstructured.RemoveNestedField(o.Object, "status")
				unstructured.RemoveNestedField(o.Object, "metadata", "creationTimestamp")
				unstructured.RemoveNestedField(o.Object, "spec", "template", "metadata", "creationTimestamp")
				want = append(want, o)
			}
			cfg := load(t, name)
			got, err := CoreDNS(cfg, inputs(t, cfg).Patches)
			if err != nil {
				t.Fatal(err)
			}
			for _, list := range [][]*unstructured.Unstructured{want, got} {
				slices.SortFunc(list, func(a, b *unstructured.Unstructured) int { return cmp.Compare(a.GetKind(), b.GetKind()) })
			}
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("-kubeadm +boot:\n%s", diff)
			}
		})
	}
}

func TestCoreDNSCanBeLeftOut(t *testing.T) {
	cfg := load(t, "default")
	cfg.Cluster.DNS.Disabled = true
	if got, err := CoreDNS(cfg, Patches{}); err != nil || len(got) > 0 {
		t.Errorf("%d objects, %v", len(got), err)
	}
}

// A joining kubeadm reads the documents back from the ConfigMaps.
func TestConfigMapsHoldTheDocuments(t *testing.T) {
	cfg := load(t, "own-places")
	objects := addons(t, cfg, Patches{})
	for file, key := range map[string]string{"kubeadm-config.yaml": "ClusterConfiguration", "kubelet-config.yaml": "kubelet"} {
		document, _, err := unstructured.NestedString(objects[file][0].Object, "data", key)
		if err != nil {
			t.Fatal(err)
		}
		var want any = cfg.Cluster
		var got any = &config.ClusterConfiguration{}
		if key == "kubelet" {
			want, got = cfg.Kubelet, cfg.Kubelet.DeepCopy()
		}
		if err := decode([]byte(document), got); err != nil {
			t.Fatal(err)
		}
		a, errA := yaml.Marshal(want)
		b, errB := yaml.Marshal(got)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %s", file, gocmp.Diff(string(a), string(b)))
		}
	}
}

func TestBootstrapToken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	token := config.BootstrapToken{
		Token: "abcdef.0123456789abcdef", Description: "for tests",
		Usages: []string{"signing", "authentication"}, Groups: []string{"system:bootstrappers:a", "system:bootstrappers:b"},
	}
	want := map[string]string{
		"token-id": "abcdef", "token-secret": "0123456789abcdef", "description": "for tests",
		"usage-bootstrap-signing": "true", "usage-bootstrap-authentication": "true",
		"auth-extra-groups": "system:bootstrappers:a,system:bootstrappers:b",
	}
	tests := []struct {
		name    string
		ttl     *metav1.Duration
		expires *metav1.Time
		end     string
	}{
		{name: "for ever"},
		{name: "for ever, said so", ttl: &metav1.Duration{}},
		{name: "for a day", ttl: &metav1.Duration{Duration: 24 * time.Hour}, end: "2026-01-03T02:04:05Z"},
		{name: "until then", expires: &metav1.Time{Time: now.Add(time.Minute)}, end: "2026-01-02T02:05:05Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token.TTL, token.Expires = tt.ttl, tt.expires
			o, err := BootstrapToken(token, now)
			if err != nil {
				t.Fatal(err)
			}
			data, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			var s corev1.Secret
			if err := decode(data, &s); err != nil {
				t.Fatal(err)
			}
			if s.Namespace != "kube-system" || s.Name != "bootstrap-token-abcdef" || s.Type != "bootstrap.kubernetes.io/token" {
				t.Errorf("%s/%s of type %s", s.Namespace, s.Name, s.Type)
			}
			got := map[string]string{}
			for k, v := range s.Data {
				got[k] = string(v)
			}
			if end := got["expiration"]; end != tt.end {
				t.Errorf("ends %q; want %q", end, tt.end)
			}
			delete(got, "expiration")
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := BootstrapToken(config.BootstrapToken{Token: "secret"}, now); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
