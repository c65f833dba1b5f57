package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/mod/modfile"
)

// programs makes a directory with a stand-in for every program of the images.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{
		"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
		"etcd", "etcdctl", "etcdutl", "coredns", "pause", "testbox", "metrics-server", "prometheus",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestVersionsArePinnedInTheWrappers(t *testing.T) {
	v := versions(t)
	for _, w := range wrappers() {
		mod, err := readModule(filepath.Join(w.Dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, r := range mod.Require {
			if r.Mod.Path == w.Module {
				found = true
				if r.Mod.Version != v[w.Version] {
					t.Errorf("%s requires %s %s, versions.env says %s: run make images-pin", w.Dir, w.Module, r.Mod.Version, v[w.Version])
				}
			}
		}
		if !found {
			t.Errorf("%s does not require %s", w.Dir, w.Module)
		}
	}
}

func TestStagingModulesFollowKubernetes(t *testing.T) {
	want := "v0." + strings.TrimPrefix(versions(t)["KUBERNETES"], "v1.")
	mod, err := readModule(filepath.Join("kubernetes", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if len(mod.Replace) == 0 {
		t.Error("no staging module is replaced")
	}
	for _, r := range mod.Replace {
		if r.New.Path != r.Old.Path || r.New.Version != want {
			t.Errorf("%s is replaced by %s %s, want %s: run make images-pin", r.Old.Path, r.New.Path, r.New.Version, want)
		}
	}
}

func TestEveryBuildIsOfItsWrapper(t *testing.T) {
	for _, b := range engineBuilds(versions(t)) {
		mod, err := readModule(filepath.Join(b.Wrapper.Dir, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, pkg := range b.Packages {
			known := slices.ContainsFunc(mod.Tool, func(tool *modfile.Tool) bool { return tool.Path == pkg })
			if !known {
				t.Errorf("%s is no tool of %s, so tidying may drop what it needs", pkg, b.Wrapper.Dir)
			}
		}
	}
}

func TestReleaseImagesHaveTheNamesKubeadmAsksFor(t *testing.T) {
	v := Versions{"KUBERNETES": "v1.2.3", "ETCD_IMAGE": "3.4.5-0", "COREDNS": "v1.6.7", "PAUSE_IMAGE": "3.8"}
	want := []string{
		"registry.k8s.io/kube-apiserver:v1.2.3", "registry.k8s.io/kube-controller-manager:v1.2.3",
		"registry.k8s.io/kube-scheduler:v1.2.3", "registry.k8s.io/kube-proxy:v1.2.3",
		"registry.k8s.io/etcd:3.4.5-0", "registry.k8s.io/coredns/coredns:v1.6.7", "registry.k8s.io/pause:3.8",
	}
	if got := releaseImages(v); !slices.Equal(got, want) {
		t.Errorf("images %q, want %q", got, want)
	}
	if got, want := archivePath(want[5]), "images/coredns.tar"; got != want {
		t.Errorf("archive %s, want %s", got, want)
	}
}

func TestExtrasHaveTheNamesOfTheirProjects(t *testing.T) {
	v := Versions{"METRICS_SERVER": "v0.9.0", "PROMETHEUS": "v0.305.1"}
	for got, want := range map[string]string{
		metricsServerImage(v):         "registry.k8s.io/metrics-server/metrics-server:v0.9.0",
		prometheusImage(v):            "quay.io/prometheus/prometheus:v3.5.1",
		extraPath(prometheusImage(v)): "extras/prometheus.tar",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestImagesRunAsUpstreams(t *testing.T) {
	v, dir := versions(t), programs(t)
	recipes, err := kubeRecipes(v, dir, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	recipes = append(recipes, etcdRecipe(v, dir), corednsRecipe(v, filepath.Join(dir, "coredns")),
		pauseRecipe(v, filepath.Join(dir, "pause")), testboxRecipe(v, filepath.Join(dir, "testbox")),
		metricsServerRecipe(v, filepath.Join(dir, "metrics-server")), prometheusRecipe(v, filepath.Join(dir, "prometheus")))
	want := map[string]struct{ entrypoint, user string }{
		kubeImage(v, "kube-apiserver"):          {"/usr/local/bin/kube-apiserver", ""},
		kubeImage(v, "kube-controller-manager"): {"/usr/local/bin/kube-controller-manager", ""},
		kubeImage(v, "kube-scheduler"):          {"/usr/local/bin/kube-scheduler", ""},
		kubeImage(v, "kube-proxy"):              {"/usr/local/bin/kube-proxy", ""},
		etcdImage(v):                            {"/usr/local/bin/etcd", ""},
		corednsImage(v):                         {"/coredns", "65532:65532"},
		pauseImage(v):                           {"/pause", "65535:65535"},
		testboxImage(v):                         {"/testbox", ""},
		metricsServerImage(v):                   {"/metrics-server", "65534"},
		prometheusImage(v):                      {"/bin/prometheus", "65534"},
	}
	if len(recipes) != len(want) {
		t.Errorf("%d recipes, want %d", len(recipes), len(want))
	}
	for _, r := range recipes {
		img, err := r.Image()
		if err != nil {
			t.Errorf("%s: %v", r.Name, err)
			continue
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Entrypoint; len(got) != 1 || got[0] != want[r.Name].entrypoint {
			t.Errorf("%s: entrypoint %q", r.Name, got)
		}
		if got := config.Config.User; got != want[r.Name].user {
			t.Errorf("%s: user %q", r.Name, got)
		}
		if !searches(config.Config, "/usr/local/bin") {
			t.Errorf("%s: manifests that name only the program will not find it: %q", r.Name, config.Config.Env)
		}
	}
}

func searches(c v1.Config, dir string) bool {
	for _, env := range c.Env {
		if list, ok := strings.CutPrefix(env, "PATH="); ok {
			return slices.Contains(strings.Split(list, ":"), dir)
		}
	}
	return false
}

func versions(t *testing.T) Versions {
	t.Helper()
	v, err := parseVersions(versionsFile)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseVersions(t *testing.T) {
	v, err := parseVersions("# a comment\n\nA=v1.2.3\nSOURCE_DATE_EPOCH=86400\n")
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := v.Epoch()
	if err != nil {
		t.Fatal(err)
	}
	if v["A"] != "v1.2.3" || epoch.Format("2006-01-02") != "1970-01-02" {
		t.Errorf("parsed %v, epoch %v", v, epoch)
	}
	for _, bad := range []string{"A", "A=", "A v1"} {
		if _, err := parseVersions(bad); err == nil {
			t.Errorf("%q: parsed all the same", bad)
		}
	}
	if _, err := (Versions{}).Epoch(); err == nil {
		t.Error("no epoch: parsed all the same")
	}
}

func TestLdflags(t *testing.T) {
	for _, c := range []struct {
		name  string
		build Build
		want  string
	}{
		{"plain", Build{}, "-s -w"},
		{"stamped in order", Build{Stamp: map[string]string{"b.B": "2", "a.A": "1"}}, "-s -w -X a.A=1 -X b.B=2"},
		{"static against C", Build{Cgo: true}, "-s -w -linkmode external -extldflags -static"},
	} {
		if got := c.build.ldflags(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
