package phases

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/config"
	"boot.internal/journal"
	"boot.internal/network"
	"boot.internal/process"
)

// A site is a host to reset of which every file is in a directory of the
// test's.
type site struct {
	t      *testing.T
	root   string
	o      ResetOptions
	loop   *fakeLoop
	pods   *fakePods
	engine *fakeEngine
}

func newSite(t *testing.T) *site {
	t.Helper()
	root := t.TempDir()
	at := func(path string) string { return filepath.Join(root, path) }
	s := &site{t: t, root: root, loop: &fakeLoop{}, pods: &fakePods{}, engine: &fakeEngine{}}
	s.o = ResetOptions{
		Config: &config.ResetConfiguration{CertificatesDir: at("etc/kubernetes/pki")},
		Dirs: ResetDirs{
			Kubernetes: at("etc/kubernetes"), Manifests: at("etc/kubernetes/manifests"), Kubelet: at("var/lib/kubelet"),
			Etcd: at("var/lib/etcd"), PodLogs: at("var/log/pods"), ContainerLogs: at("var/log/containers"), CNI: at("etc/cni/net.d"), CNIResults: at("var/lib/cni/results"),
			State: at("var/lib/boot"), Run: at("run/boot"), Logs: at("var/log/boot"), XtablesLock: at("run/xtables.lock"), Modules: at("lib/modules"),
		},
		Journal: journal.At(at("var/lib/boot/journal.json")),
		Loop:    s.loop, Pods: s.pods, Engine: s.engine,
		Leftovers: func(context.Context) ([]network.Leftover, error) {
			conf := at("etc/cni/net.d/10-boot.conflist")
			if !exists(conf) {
				return nil, nil
			}
			return []network.Leftover{{Desc: "remove " + conf, Remove: func(context.Context) error { return os.Remove(conf) }}}, nil
		},
		host: &hostView{root: root, modprobe: func(_ context.Context, args ...string) error {
			return os.RemoveAll(at("sys/module/" + args[len(args)-1]))
		}},
	}
	for _, dir := range []string{"etc", "lib", "var/lib", "var/log", "run"} {
		if err := os.MkdirAll(at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// write makes files, empty ones. A name that ends in a slash is a directory.
func (s *site) write(names ...string) {
	s.t.Helper()
	for _, name := range names {
		s.put(name, "")
	}
}

func (s *site) put(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.root, name)
	dir := filepath.Dir(path)
	if strings.HasSuffix(name, "/") {
		dir = path
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if strings.HasSuffix(name, "/") {
		return
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// files are all there are, each with what is in it.
func (s *site) files() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		content := ""
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(data)
		case d.Type()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		}
		all[strings.TrimPrefix(path, s.root)] = d.Type().String() + " " + content
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// note writes the journal as preflight does.
func (s *site) note(entries ...journal.Entry) {
	s.t.Helper()
	for i, e := range entries {
		if e.Kind == journal.Found {
			entries[i].Name = filepath.Join(s.root, e.Name)
		}
	}
	entries = append(entries, journal.Entry{Kind: journal.Node, Name: "a"})
	if err := s.o.Journal.Note(s.t.Context(), entries...); err != nil {
		s.t.Fatal(err)
	}
}

func foundPath(name string) journal.Entry { return journal.Entry{Kind: journal.Found, Name: name} }

// reset runs all phases and returns the changes made and what was warned of: not
// of etcd, which never runs.
func (s *site) reset(r Runner) (changes, warnings []string) {
	s.t.Helper()
	changes, warnings, err := s.try(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return changes, warnings
}

func (s *site) try(r Runner) (changes, warnings []string, err error) {
	r.Report = func(e Event) {
		text := strings.ReplaceAll(e.Text, s.root, "")
		switch e.State {
		case Changing:
			changes = append(changes, e.Step+": "+text)
		case Warned:
			if e.Step != "remove-etcd-member" {
				warnings = append(warnings, e.Step+": "+text)
			}
		}
	}
	err = r.Run(s.t.Context(), Reset(s.o))
	return changes, warnings, err
}

// manifest is a static pod as far as reset reads it.
func manifest(dirs map[string]string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nspec:\n  volumes:\n")
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		fmt.Fprintf(&b, "  - {name: %s, hostPath: {path: %s}}\n", name, dirs[name])
	}
	return b.String()
}

// node writes what there is on a host after boot init.
func (s *site) node() {
	s.t.Helper()
	s.put("etc/kubernetes/manifests/etcd.yaml", manifest(map[string]string{"etcd-data": s.o.Dirs.Etcd}))
	s.put("etc/kubernetes/manifests/kube-apiserver.yaml", manifest(map[string]string{"k8s-certs": s.o.Config.CertificatesDir}))
	s.write(
		"etc/kubernetes/manifests/kube-controller-manager.yaml", "etc/kubernetes/manifests/kube-scheduler.yaml",
		"etc/kubernetes/manifests/kube-proxy.yaml", "etc/kubernetes/manifests/.kube-proxy.yaml.tmp123",
		"etc/kubernetes/admin.conf", "etc/kubernetes/super-admin.conf", "etc/kubernetes/kubelet.conf",
		"etc/kubernetes/controller-manager.conf", "etc/kubernetes/scheduler.conf", "etc/kubernetes/.admin.conf.tmp1",
		"etc/kubernetes/pki/ca.key", "etc/kubernetes/pki/etcd/ca.key", "etc/cni/net.d/10-boot.conflist", "run/xtables.lock",
		"var/lib/etcd/member/wal/0", "var/lib/kubelet/config.yaml", "var/lib/kubelet/pods/1/etc-hosts",
		"var/log/pods/kube-system_etcd-a_1/etcd/0.log", "lib/modules/",
		"var/lib/boot/containerd/config.toml", "var/lib/boot/engine/abc/containerd", "var/lib/boot/kube-proxy/config.yaml",
		"var/lib/boot/images/bundle.tar.zst", "var/log/boot/kubelet.log", "run/boot/containerd.lock", "run/boot/cni/lock",
	)
	link := filepath.Join(s.root, "var/log/containers/etcd.log")
	if err := errors.Join(os.MkdirAll(filepath.Dir(link), 0o755),
		os.Symlink(filepath.Join(s.root, "var/log/pods/kube-system_etcd-a_1/etcd/0.log"), link)); err != nil {
		s.t.Fatal(err)
	}
	s.put("proc/sys/net/ipv4/ip_forward", "1\n")
	s.write("sys/module/br_netfilter/")
	s.loop.left = true
	s.engine.running = true
	s.pods.all = []Pod{
		{"default", "web", false},
		{"kube-system", "etcd-a", true},
		{"kube-system", "kube-apiserver-a", true},
		{"kube-system", "kube-controller-manager-a", true},
		{"kube-system", "kube-proxy-a", true},
		{"kube-system", "kube-scheduler-a", true},
	}
}

// found writes what is on a host before boot init, and notes it.
func (s *site) found() {
	s.t.Helper()
	s.put("proc/sys/net/ipv4/ip_forward", "0\n")
	s.put("etc/kubernetes/pki/ca.crt", "the user's CA")
	s.write("var/lib/boot/", "sys/module/", "var/log/pods/")
	s.note(
		foundPath("etc/kubernetes"), foundPath("etc/kubernetes/pki"), foundPath("etc/kubernetes/pki/ca.crt"), foundPath("var/log/pods"),
		journal.Entry{Kind: journal.Sysctl, Name: "net.ipv4.ip_forward", Was: "0"},
		journal.Entry{Kind: journal.Sysctl, Name: "net.gone", Was: "7"},
		journal.Entry{Kind: journal.Module, Name: "br_netfilter"},
	)
}

// after is what is to be left of found and node.
func (s *site) after() map[string]string {
	s.t.Helper()
	other := newSite(s.t)
	other.found()
	if err := os.RemoveAll(other.o.Dirs.State); err != nil {
		s.t.Fatal(err)
	}
	return other.files()
}

type fakeLoop struct{ left bool }

func (l *fakeLoop) Left(context.Context) (bool, error) { return l.left, nil }

func (l *fakeLoop) Stop(context.Context) error {
	l.left = false
	return nil
}

// A fakeEngine has processes that end with it.
type fakeEngine struct {
	running bool
	shims   []process.ID
}

func (e *fakeEngine) Running() (bool, error) { return e.running, nil }

func (e *fakeEngine) Shims() ([]process.ID, error) { return e.shims, nil }

func (e *fakeEngine) Stop(context.Context) error {
	e.running, e.shims = false, nil
	return nil
}

// TestResetSaysEverything writes down all of a reset: the order of the work,
// and every change in the words people read.
func TestResetSaysEverything(t *testing.T) {
	s := newSite(t)
	s.found()
	s.node()
	s.o.Purge = true
	before := s.files()
	said, _ := s.reset(Runner{DryRun: true})
	golden(t, "testdata/reset.txt", strings.Join(said, "\n")+"\n")
	if diff := cmp.Diff(before, s.files()); diff != "" || !s.loop.left || !s.engine.running || len(s.pods.all) != 6 {
		t.Errorf("a dry run changed something: %s", diff)
	}
	// A dry run knows all that is done but what comes about by doing it.
	done, _ := s.reset(Runner{})
	whole := regexp.MustCompile(`remove /var/lib/boot\S*`)
	if diff := cmp.Diff(whole.ReplaceAllString(strings.Join(said, "\n"), "…"), whole.ReplaceAllString(strings.Join(done, "\n"), "…")); diff != "" {
		t.Errorf("what was said and what was done: %s", diff)
	}
}

func TestResetLeavesTheHostAsItWas(t *testing.T) {
	s := newSite(t)
	s.found()
	s.node()
	s.o.Purge = true
	s.reset(Runner{})
	if diff := cmp.Diff(s.after(), s.files()); diff != "" {
		t.Error(diff)
	}
	if again, warnings := s.reset(Runner{}); len(again)+len(warnings) > 0 {
		t.Errorf("again: %q, warned of %q", again, warnings)
	}
}

func TestResetKeepsImagesAndLogs(t *testing.T) {
	s := newSite(t)
	s.found()
	s.node()
	s.reset(Runner{})
	for _, name := range []string{"var/lib/boot/images/bundle.tar.zst", "var/log/boot/kubelet.log"} {
		if !exists(filepath.Join(s.root, name)) {
			t.Errorf("%s is gone", name)
		}
	}
	if again, _ := s.reset(Runner{}); len(again) > 0 {
		t.Errorf("again: %q", again)
	}
	s.o.Purge = true
	want := []string{"cleanup-node/boot: remove /var/lib/boot", "cleanup-node/boot: remove /var/log/boot"}
	if purged, _ := s.reset(Runner{}); !slices.Equal(purged, want) {
		t.Errorf("purged %q", purged)
	}
}

// Killed at any moment, the same command again finishes the job.
func TestResetKilledAnywhere(t *testing.T) {
	for n := 0; ; n++ {
		s := newSite(t)
		s.found()
		s.node()
		s.o.Purge = true
		w := &world{t: t}
		w.killAfter(n, Reset(s.o)...)
		left, _ := s.reset(Runner{})
		if diff := cmp.Diff(s.after(), s.files()); diff != "" {
			t.Fatalf("after %d changes: %s", n, diff)
		}
		if again, _ := s.reset(Runner{}); len(again) > 0 {
			t.Fatalf("after %d changes, again: %q", n, again)
		}
		if len(left) == 0 {
			if n < 20 {
				t.Errorf("all was done in %d changes", n)
			}
			return
		}
	}
}

// An init that is killed anywhere leaves nothing that a reset does not find.
func TestResetAfterAKilledInit(t *testing.T) {
	for n := 0; ; n += 4 {
		w, s := newWorld(t, withToken), newSite(t)
		w.dirs = Dirs{Kubernetes: s.o.Dirs.Kubernetes, Kubelet: s.o.Dirs.Kubelet, ProxyConfig: filepath.Join(s.o.Dirs.State, "kube-proxy/config.yaml")}
		w.cfg.Cluster.CertificatesDir = s.o.Config.CertificatesDir
		w.cfg.Kubelet.StaticPodPath, w.cfg.Cluster.Etcd.Local.DataDir = s.o.Dirs.Manifests, s.o.Dirs.Etcd
		before := s.files()
		s.note()

		steps := w.initSteps(&fakeService{})
		steps = steps[:slices.IndexFunc(steps, func(s Step) bool { return s.Name == "wait-control-plane" })]
		total, err := runSteps(t.Context(), Runner{DryRun: true}, steps...)
		if err != nil {
			t.Fatal(err)
		}
		w.killAfter(n, steps...)
		s.reset(Runner{})
		if diff := cmp.Diff(before, s.files()); diff != "" {
			t.Fatalf("after %d changes of init: %s", n, diff)
		}
		if n >= len(total) {
			return
		}
	}
}

func TestResetSkips(t *testing.T) {
	s := newSite(t)
	s.found()
	s.node()
	skip, err := Skipping(Reset(s.o), []string{"cleanup-node"})
	if err != nil {
		t.Fatal(err)
	}
	if changes, _ := s.reset(Runner{Skip: skip}); len(changes) > 0 {
		t.Errorf("changed %q", changes)
	}
	var names []string
	for _, e := range ResetPhases() {
		names = append(names, e.Name)
	}
	for _, kubeadms := range []string{"preflight", "remove-etcd-member", "cleanup-node"} {
		if !slices.Contains(names, kubeadms) {
			t.Errorf("%s is not among %q", kubeadms, names)
		}
	}
}

func TestResetNeedsRoot(t *testing.T) {
	s := newSite(t)
	s.o.host.euid = 1000
	_, _, err := s.try(Runner{})
	wantError(t, err, "[IsPrivilegedUser]", "--ignore-preflight-errors=IsPrivilegedUser")
	if !errors.As(err, new(*PreflightError)) {
		t.Errorf("error %T", err)
	}
	s.o.Config.IgnorePreflightErrors = []string{"isprivilegeduser"}
	if _, warnings := s.reset(Runner{}); len(warnings) != 1 || !strings.Contains(warnings[0], "IsPrivilegedUser") {
		t.Errorf("warned of %q", warnings)
	}
}
