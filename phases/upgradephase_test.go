package phases

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The phases are called what kubeadm's are, where they mean the same: scripts skip
// them. What a node leaves to the first control plane is none of its own.
func TestUpgradePhases(t *testing.T) {
	kubeadms := map[bool][]string{
		true: {
			"preflight", "control-plane", "upload-config", "upload-config/kubeadm", "upload-config/kubelet",
			"kubelet-config", "bootstrap-token", "addon", "addon/coredns", "addon/kube-proxy", "post-upgrade",
		},
		false: {"preflight", "control-plane", "kubelet-config", "addon", "addon/coredns", "addon/kube-proxy", "post-upgrade"},
	}
	for apply, names := range kubeadms {
		var has []string
		for _, e := range UpgradePhases(apply) {
			has = append(has, e.Name)
		}
		for _, name := range names {
			if !slices.Contains(has, name) {
				t.Errorf("apply %v: no %s among %q", apply, name, has)
			}
		}
		if !apply && slices.ContainsFunc(has, func(name string) bool { return within(name, "upload-config") }) {
			t.Errorf("a node stores nothing: %q", has)
		}
	}
}

// What replaces something can be killed like the whole, for which the phases around
// it see to the note; that of a run which has not ended stays.
func TestUpgradePhase(t *testing.T) {
	w := newWorld(t, "")
	o := UpgradeOptions{Config: w.cfg, Dirs: w.dirs, ControlPlane: true, Apply: true}
	if err := os.MkdirAll(o.Dirs.State, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, fresh, resumed string }{
		{"preflight", "preflight", "preflight"},
		{"control-plane/scheduler", "begin control-plane/scheduler post-upgrade", "begin control-plane/scheduler"},
		{"etcd-snapshot", "begin etcd-snapshot post-upgrade", "begin etcd-snapshot"},
		{"kubelet-config", "begin kubelet-config post-upgrade", "begin kubelet-config"},
		{"addon", "begin addon/kube-proxy addon/coredns addon/kube-proxy post-upgrade", "begin addon/kube-proxy addon/coredns addon/kube-proxy"},
		{"upload-config", "upload-config/kubeadm upload-config/kubelet upload-config/boot", "upload-config/kubeadm upload-config/kubelet upload-config/boot"},
		{"post-upgrade", "post-upgrade", "post-upgrade"},
	} {
		for _, note := range []struct{ content, want string }{{"", c.fresh}, {"{}", c.resumed}} {
			if note.content == "" {
				_ = os.Remove(notePath(o.Dirs.State)) // there may be none
			} else if err := os.WriteFile(notePath(o.Dirs.State), []byte(note.content), 0o600); err != nil {
				t.Fatal(err)
			}
			steps, err := UpgradePhase(o, c.name)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range steps {
				names = append(names, s.Name)
			}
			if diff := cmp.Diff(note.want, strings.Join(slices.Compact(names), " ")); diff != "" {
				t.Errorf("%s with note %q: %s", c.name, note.content, diff)
			}
		}
	}
	_, err := UpgradePhase(o, "certs")
	wantError(t, err, `no phase is called "certs"`, "control-plane/etcd")
}
