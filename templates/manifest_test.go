package templates

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"

	"boot.internal/config"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// load reads the configuration of a case, for a host that has the addresses
// the cases use.
func load(t *testing.T, name string) *config.Init {
	t.Helper()
	path := filepath.Join("testdata", name, "config.yaml")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	data = []byte(strings.ReplaceAll(string(data), "testdata/", here+"/testdata/"))
	cfg, err := config.LoadInit(config.InitOptions{Path: path, Data: data, Host: config.Host{
		Name:     "node-1",
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// inputs are those of a Debian host whose certificates are all in place.
func inputs(t *testing.T, cfg *config.Init) Inputs {
	t.Helper()
	in := Inputs{
		CACertDirs: CACertDirs(func(dir string) bool { return !strings.HasPrefix(dir, "/etc/pki") }),
		CertsHash:  map[string]string{},
		ProxyMode:  kubeproxyv1alpha1.ProxyMode("nftables"),
	}
	for _, c := range components() {
		in.CertsHash[c] = Hash([]byte(strings.Join(Files(cfg, c), "\n")))
	}
	if p := cfg.Init.Patches; p != nil {
		patches, err := ReadPatches(p.Directory)
		if err != nil {
			t.Fatal(err)
		}
		in.Patches = patches
	}
	return in
}

func components() []string {
	return []string{
		config.ComponentEtcd, config.ComponentAPIServer, config.ComponentControllerManager,
		config.ComponentScheduler, config.ComponentProxy,
	}
}

// cases are the directories of testdata: a configuration, the manifests that
// kubeadm v1.37.2 wrote for it ("kubeadm init phase etcd local" and
// "control-plane all", on a host as of inputs), and those of boot.
func cases(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*/config.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for n, p := range paths {
		paths[n] = filepath.Base(filepath.Dir(p))
	}
	return paths
}

// manifests renders all static pods of a case by the names of their files, and
// the file that kube-proxy reads.
func manifests(t *testing.T, cfg *config.Init, in Inputs) map[string]string {
	t.Helper()
	pods, err := ControlPlane(cfg, in)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := KubeProxy(cfg, in)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{"kube-proxy-config.yaml": string(proxy.Config)}
	for _, m := range append(pods, proxy.Manifest) {
		out[m.File] = string(m.Data)
	}
	return out
}

func TestManifests(t *testing.T) {
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			cfg := load(t, name)
			got := manifests(t, cfg, inputs(t, cfg))
			dir := filepath.Join("testdata", name, "want")
			if *update {
				writeAll(t, dir, got)
			}
			if diff := cmp.Diff(readAll(t, dir), got); diff != "" {
				t.Error(diff)
			}
			for file, data := range got {
				if file != "kube-proxy-config.yaml" {
					decodePod(t, file, data)
				}
			}
		})
	}
}

func decodePod(t *testing.T, file, data string) *corev1.Pod {
	t.Helper()
	var p corev1.Pod
	if err := decode([]byte(data), &p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return &p
}

// Beside the differences undone here, and listed in equalToKubeadm, boot's
// manifests are kubeadm's.
func TestManifestsAreThoseOfKubeadm(t *testing.T) {
	for _, name := range cases(t) {
		t.Run(name, func(t *testing.T) {
			cfg := load(t, name)
			got := manifests(t, cfg, inputs(t, cfg))
			theirs := readAll(t, filepath.Join("testdata", name, "kubeadm"))
			if len(theirs) < 3 {
				t.Fatalf("kubeadm wrote %d manifests", len(theirs))
			}
			for file, data := range theirs {
				want, have := decodePod(t, file, data), decodePod(t, file, got[file])
				equalToKubeadm(t, want, have)
				if diff := cmp.Diff(want, have); diff != "" {
					t.Errorf("%s (-kubeadm +boot):\n%s", file, diff)
				}
			}
		})
	}
}

// equalToKubeadm checks and then undoes what boot does on purpose: hashes in
// annotations, a startup probe that looks earlier and more often but lasts as
// long, to the next ten seconds, a controller manager that may ask the API more
// often, and volumes that are sorted everywhere.
func equalToKubeadm(t *testing.T, want, have *corev1.Pod) {
	t.Helper()
	for _, key := range []string{ConfigHash, CertsHash} {
		if len(have.Annotations[key]) != 32 {
			t.Errorf("%s: annotation %s is %q", have.Name, key, have.Annotations[key])
		}
		delete(have.Annotations, key)
	}
	if len(have.Annotations) == 0 {
		have.Annotations = nil
	}
	slow, fast := want.Spec.Containers[0].StartupProbe, have.Spec.Containers[0].StartupProbe
	seconds := fast.PeriodSeconds * fast.FailureThreshold
	if fast.PeriodSeconds != 1 || fast.InitialDelaySeconds != 0 || (seconds+9)/10 != slow.FailureThreshold {
		t.Errorf("%s: startup probe %+v", have.Name, fast)
	}
	fast.InitialDelaySeconds, fast.PeriodSeconds, fast.FailureThreshold = slow.InitialDelaySeconds, slow.PeriodSeconds, slow.FailureThreshold
	c := &have.Spec.Containers[0]
	c.Command = slices.DeleteFunc(c.Command, func(arg string) bool { return strings.HasPrefix(arg, "--kube-api-") })
	slices.SortFunc(want.Spec.Containers[0].VolumeMounts, func(a, b corev1.VolumeMount) int { return strings.Compare(a.Name, b.Name) })
}

func TestHashesChangeWithWhatThePodReads(t *testing.T) {
	cfg := load(t, "default")
	in := inputs(t, cfg)
	before := manifests(t, cfg, in)

	in.CertsHash[config.ComponentScheduler] = Hash([]byte("renewed"))
	changed(t, "a renewed certificate", before, manifests(t, cfg, in), "kube-scheduler.yaml")

	in = inputs(t, cfg)
	in.NestedNetwork = true
	changed(t, "another configuration of kube-proxy", before, manifests(t, cfg, in), "kube-proxy.yaml", "kube-proxy-config.yaml")

	cfg.Cluster.Scheduler.ExtraArgs = []config.Arg{{Name: "v", Value: "4"}}
	changed(t, "a flag of the scheduler", before, manifests(t, cfg, inputs(t, cfg)), "kube-scheduler.yaml")
}

// changed checks which files differ.
func changed(t *testing.T, what string, before, after map[string]string, want ...string) {
	t.Helper()
	var got []string
	for file, data := range after {
		if before[file] != data {
			got = append(got, file)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s changed other files:\n%s", what, diff)
	}
}

func TestHashSeparatesContents(t *testing.T) {
	if Hash([]byte("ab"), []byte("c")) == Hash([]byte("a"), []byte("bc")) {
		t.Error("contents run into each other")
	}
	if a, b := Hash([]byte("a")), Hash([]byte("a")); a != b {
		t.Errorf("%s, then %s", a, b)
	}
}

// What a component is told to read at its start is in its hash.
func TestFilesAreThoseOfTheFlags(t *testing.T) {
	for _, name := range []string{"default", "external-etcd", "own-places"} {
		cfg := load(t, name)
		pods, err := ControlPlane(cfg, inputs(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pods {
			files := map[string]bool{}
			for _, arg := range decodePod(t, m.File, string(m.Data)).Spec.Containers[0].Command[1:] {
				_, value, _ := strings.Cut(arg, "=")
				switch filepath.Ext(value) {
				case ".crt", ".key", ".pub", ".conf":
					files[value] = true
				}
			}
			named := map[string]bool{}
			for _, f := range Files(cfg, m.Component) {
				named[f] = true
			}
			if diff := cmp.Diff(files, named); diff != "" {
				t.Errorf("%s: %s (-flags +files):\n%s", name, m.Component, diff)
			}
		}
	}
}

func TestExternalCA(t *testing.T) {
	cfg := load(t, "default")
	m, err := ControllerManager(cfg, Inputs{ExternalCA: true})
	if err != nil {
		t.Fatal(err)
	}
	command := decodePod(t, m.File, string(m.Data)).Spec.Containers[0].Command
	for _, flag := range []string{"--cluster-signing-cert-file=", "--cluster-signing-key-file="} {
		if !slices.Contains(command, flag) {
			t.Errorf("no empty %s in %v", flag, command)
		}
	}
}

func TestProxyEnv(t *testing.T) {
	cfg := load(t, "extra-args")
	in := Inputs{ProxyEnv: ProxyEnv([]string{"HTTP_PROXY=http://p", "no_proxy=a,b", "EMPTY_PROXY=", "HOME=/root", "odd"})}
	cfg.Cluster.Scheduler.ExtraEnvs = []corev1.EnvVar{{Name: "HTTP_PROXY", Value: "http://mine"}}
	want := map[string][]corev1.EnvVar{
		"etcd.yaml":                    {{Name: "GOMEMLIMIT", Value: "1GiB"}},
		"kube-scheduler.yaml":          {{Name: "HTTP_PROXY", Value: "http://mine"}, {Name: "no_proxy", Value: "a,b"}},
		"kube-proxy.yaml":              {{Name: "HTTP_PROXY", Value: "http://p"}, {Name: "no_proxy", Value: "a,b"}},
		"kube-controller-manager.yaml": {{Name: "HTTP_PROXY", Value: "http://p"}, {Name: "NODE", ValueFrom: cfg.Cluster.ControllerManager.ExtraEnvs[0].ValueFrom}, {Name: "no_proxy", Value: "a,b"}},
	}
	got := manifests(t, cfg, in)
	for file, env := range want {
		if diff := cmp.Diff(env, decodePod(t, file, got[file]).Spec.Containers[0].Env); diff != "" {
			t.Errorf("%s:\n%s", file, diff)
		}
	}
}

func TestKubeProxyHonoursTheUser(t *testing.T) {
	cfg := load(t, "default")
	cfg.KubeProxy.Mode = "iptables"
	cfg.KubeProxy.HostnameOverride = "other"
	cfg.KubeProxy.Conntrack.MaxPerCore = new(int32(1024))
	p, err := KubeProxy(cfg, Inputs{ProxyMode: "nftables", NestedNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	var got kubeproxyv1alpha1.KubeProxyConfiguration
	if err := decode(p.Config, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cfg.KubeProxy, got); diff != "" {
		t.Error(diff)
	}
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}

// writeAll makes a directory hold these files and no other.
func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
