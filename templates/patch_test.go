package templates

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestParsePatchName(t *testing.T) {
	tests := []struct {
		name, target string
		kind         patchKind
		ignored      string
	}{
		{name: "etcd.yaml", target: "etcd", kind: strategicPatch},
		{name: "etcd.json", target: "etcd", kind: strategicPatch},
		{name: "etcd0-memory.yaml", target: "etcd", kind: strategicPatch},
		{name: "kube-apiserver+merge.yaml", target: "kube-apiserver", kind: mergePatch},
		{name: "kube-apiserver2+json.json", target: "kube-apiserver", kind: jsonPatch},
		{name: "kube-controller-manager+strategic.json", target: "kube-controller-manager", kind: strategicPatch},
		{name: "kube-proxy.yaml", target: "kube-proxy", kind: strategicPatch},
		{name: "kubeletconfiguration.yaml", target: "kubeletconfiguration", kind: strategicPatch},
		{name: "corednsdeployment+json.yaml", target: "corednsdeployment", kind: jsonPatch},
		{name: "etcd+bash.yaml", target: "etcd"},
		{name: "etcd+.yaml", target: "etcd"},
		{name: "etcd.yml", ignored: "the name does not end in .yaml or .json"},
		{name: "etcd", ignored: "the name does not end in .yaml or .json"},
		{name: "my-etcd.yaml", ignored: "the name does not start with one of " + strings.Join(patchTargets(), ", ")},
		{name: "kubeproxydaemonset.yaml", ignored: "kube-proxy is a static pod here: name the file kube-proxy instead of kubeproxydaemonset"},
	}
	for _, tt := range tests {
		target, kind, ignored := parsePatchName(tt.name)
		if target != tt.target || kind != tt.kind || ignored != tt.ignored {
			t.Errorf("%s: %q, %q, %q", tt.name, target, kind, ignored)
		}
	}
}

func TestReadPatches(t *testing.T) {
	p, err := ReadPatches("testdata/patches/patches")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range p.patches {
		got = append(got, filepath.Base(c.file)+" "+c.target+" "+string(c.kind))
	}
	want := []string{
		"corednsdeployment.yaml corednsdeployment strategic",
		"etcd+strategic.yaml etcd strategic",
		"etcd+strategic.yaml etcd strategic",
		"kube-apiserver.yaml kube-apiserver strategic",
		"kube-apiserver0+json.json kube-apiserver json",
		"kube-apiserver1+merge.yaml kube-apiserver merge",
		"kube-schedulerfoo.yaml kube-scheduler strategic",
		"kubeletconfiguration+merge.yaml kubeletconfiguration merge",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(p.Ignored) != 2 || !strings.Contains(p.Ignored[0], "README.md") || !strings.Contains(p.Ignored[1], "flannel.yaml") {
		t.Errorf("ignored %q", p.Ignored)
	}
	if p, err := ReadPatches(""); err != nil || len(p.patches) > 0 {
		t.Errorf("no directory: %+v, %v", p, err)
	}
}

func TestPatchesThatDoNotApply(t *testing.T) {
	tests := []struct{ name, file, content, err string }{
		{"unknown type", "etcd+bash.yaml", "{}", `etcd+bash.yaml: after "+" comes strategic, merge or json`},
		{"no YAML", "etcd.yaml", "a: [", "read patch"},
		{"a JSON patch that is an object", "etcd+json.yaml", "a: b", "apply json patch"},
		{"a JSON patch of nothing", "etcd+json.yaml", `[{"op": "remove", "path": "/none"}]`, "apply json patch"},
		{"a strategic patch that is a list", "etcd.yaml", "[a]", "apply strategic patch"},
		{"a merge patch that is a word", "etcd+merge.yaml", "word", "decode manifest of etcd"},
		{"a field there is not", "etcd.yaml", "spec: {hostnetwork: false}", `decode manifest of etcd: unknown field "spec.hostnetwork"`},
		{"a field of another type", "etcd+merge.yaml", "spec: {hostNetwork: maybe}", "decode manifest of etcd"},
	}
	cfg := load(t, "default")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := ReadPatches(dir)
			if err == nil {
				_, err = Etcd(cfg, Inputs{Patches: p})
			}
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("error %v; want %s", err, tt.err)
			}
		})
	}
	if _, err := ReadPatches(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("read a directory there is not")
	}
}

// A directory in the directory, as mounted ConfigMaps have, and a file without
// content are no patches.
func TestReadPatchesPassesOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "etcd.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kube-scheduler.yaml"), []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPatches(dir)
	if err != nil || len(p.patches) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestKubeletIsPatched(t *testing.T) {
	cfg := load(t, "patches")
	in := inputs(t, cfg)
	data, err := Kubelet(cfg, in.Patches)
	if err != nil {
		t.Fatal(err)
	}
	want := cfg.Kubelet.DeepCopy()
	want.MaxPods = 42
	got := cfg.Kubelet.DeepCopy()
	if err := decode(data, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.MaxPods, got.MaxPods); diff != "" || got.StaticPodPath != want.StaticPodPath {
		t.Errorf("%s\n%s", diff, data)
	}
	shared, err := KubeletConfig(cfg)
	if err != nil || strings.Contains(shared[0].Object["data"].(map[string]any)["kubelet"].(string), "maxPods") {
		t.Errorf("the patch for this host went to all: %v", err)
	}
	bad := Patches{patches: []patch{{target: targetKubelet, kind: mergePatch, data: []byte(`{"maxpods": 1}`)}}}
	if _, err := Kubelet(cfg, bad); err == nil || !strings.Contains(err.Error(), "maxpods") {
		t.Errorf("error %v", err)
	}
}

func TestCoreDNSPatchMustFit(t *testing.T) {
	bad := Patches{patches: []patch{{target: targetCoreDNS, kind: mergePatch, data: []byte(`{"spec": {"replica": 1}}`)}}}
	_, err := CoreDNS(load(t, "default"), bad)
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.replica"`) {
		t.Errorf("error %v", err)
	}
}

func TestApplyLeavesOthersAlone(t *testing.T) {
	p := Patches{patches: []patch{{target: "etcd", kind: mergePatch, data: []byte(`{}`)}}}
	got, err := p.Apply("kube-scheduler", []byte("not even YAML: ["), corev1.Pod{})
	if err != nil || string(got) != "not even YAML: [" {
		t.Errorf("%s, %v", got, err)
	}
}
