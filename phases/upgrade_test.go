package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"

	"boot.internal/config"
)

// work is a step with something to do until it is done.
func work(done *bool) []Step {
	return []Step{{Name: "work", Phase: PlanFunc(func(context.Context) ([]Change, error) {
		if *done {
			return nil, nil
		}
		return []Change{{"work", func(context.Context) error { *done = true; return nil }}}, nil
	})}}
}

// A note is written before the work, and a snapshot is saved once for each note.
func TestUpgradeBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, done, live := t.TempDir(), false, true
		var saved []string
		run := func() []string {
			t.Helper()
			note := noting{UpgradeNote{From: "v1.36.3"}, dir, live, work(&done)}
			save := snapshotFirst{dir, work(&done), func(_ context.Context, path string) error {
				saved = append(saved, filepath.Base(path))
				return os.WriteFile(path, nil, 0o600)
			}}
			changes, err := runSteps(t.Context(), Runner{}, Step{Name: "begin", Phase: note}, Step{Name: "etcd-snapshot", Phase: save})
			if err != nil {
				t.Fatal(err)
			}
			return changes
		}
		first := []string{"note in " + notePath(dir) + " how the cluster was", "save a snapshot of etcd in " + filepath.Join(dir, "snapshots")}
		if diff := cmp.Diff(first, run()); diff != "" {
			t.Error(diff)
		}
		time.Sleep(10 * time.Minute)
		if again := run(); len(again) > 0 {
			t.Errorf("gone on with: %q", again)
		}
		time.Sleep(time.Hour)
		live = false
		if again := run(); len(again) > 0 {
			t.Errorf("while the cluster does not answer: %q", again)
		}
		live = true
		if diff := cmp.Diff(first, run()); diff != "" {
			t.Errorf("an hour later: %s", diff)
		}
		if len(saved) != 2 || saved[0] == saved[1] {
			t.Errorf("snapshots %q", saved)
		}
	})
}

// Where there is nothing to do, nothing is noted and nothing saved.
func TestUpgradeOfNothing(t *testing.T) {
	dir, done := t.TempDir(), true
	steps := []Step{
		{Name: "begin", Phase: noting{UpgradeNote{}, dir, true, work(&done)}},
		{Name: "etcd-snapshot", Phase: snapshotFirst{dir, work(&done), nil}},
		{Name: "post-upgrade", Phase: PlanFunc(noting{state: dir}.forget)},
	}
	if changes, err := runSteps(t.Context(), Runner{}, steps...); err != nil || len(changes) > 0 {
		t.Error(changes, err)
	}
}

// The note has all that a run needs that finds neither API server nor loop.
func TestUpgradeNote(t *testing.T) {
	dir, done := t.TempDir(), false
	want := UpgradeNote{
		From: "v1.36.3", Documents: config.SharedDocuments{Cluster: "c", Kubelet: "k", KubeProxy: "p", Boot: "b"},
		Executable: "/usr/bin/boot", Args: []string{"kubelet", "--config", "x"},
	}
	note := noting{want, dir, true, work(&done)}
	if _, err := runSteps(t.Context(), Runner{}, Step{Name: "begin", Phase: note}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadUpgradeNote(dir)
	if err != nil || got.Begun.IsZero() {
		t.Fatal(got, err)
	}
	got.Begun = time.Time{}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(notePath(dir), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ReadUpgradeNote(dir)
	wantError(t, err, "upgrade.json", "remove it: the upgrade begins anew")
}

// What the user puts right after a run that failed counts for the one after the next,
// too, by which time the cluster may not answer.
func TestUpgradeNotesWhatIsPutRight(t *testing.T) {
	dir, done := t.TempDir(), false
	run := func(from, cluster string, live bool) (changes []string, left *UpgradeNote) {
		t.Helper()
		note := noting{UpgradeNote{From: from, Documents: config.SharedDocuments{Cluster: cluster}}, dir, live, work(&done)}
		changes, err := runSteps(t.Context(), Runner{}, Step{Name: "begin", Phase: note})
		if err == nil {
			left, err = ReadUpgradeNote(dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		return changes, left
	}
	_, first := run("v1.36.3", "bad", true)
	changes, second := run("v1.37.2", "good", true)
	want := *first
	want.Documents.Cluster = "good"
	if diff := cmp.Diff(&want, second); diff != "" || len(changes) != 1 {
		t.Errorf("%q: %s", changes, diff)
	}
	if changes, _ := run("v1.37.2", "good", true); len(changes) > 0 {
		t.Errorf("again: %q", changes)
	}
	if changes, _ := run("", "what was noted", false); len(changes) > 0 {
		t.Errorf("while the cluster does not answer: %q", changes)
	}
}

// The loop is restarted by a program that takes the place of its own, and by
// nothing else.
func TestUpgradeProgram(t *testing.T) {
	dir := t.TempDir()
	p := Program{Own: filepath.Join(dir, "new"), Installed: filepath.Join(dir, "boot"), Version: "v2"}
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(p.Own, "new one")
	for _, c := range []struct {
		before string
		same   bool
	}{{"", false}, {"old", false}, {"old one", false}, {"new one", true}} {
		if c.before != "" {
			write(p.Installed, c.before)
		}
		if same, err := p.installed(); err != nil || same != c.same {
			t.Errorf("%q: same %v, %v", c.before, same, err)
		}
	}
	write(p.Installed, "old")
	if err := p.install(t.Context()); err != nil || read(t, p.Installed) != "new one" {
		t.Error(err, read(t, p.Installed))
	}
	if fi, err := os.Stat(p.Installed); err != nil || fi.Mode().Perm() != 0o755 {
		t.Error(fi, err)
	}
	p.Installed = p.Own
	if same, err := p.installed(); err != nil || !same {
		t.Errorf("one file: %v, %v", same, err)
	}
}

// A member of etcd stays the member that it has become.
func TestJoinedCluster(t *testing.T) {
	const two = "a=https://192.0.2.1:2380,b=https://192.0.2.2:2380"
	for state, want := range map[string]string{"": "", "--initial-cluster-state=existing": two} {
		manifest := `spec: {containers: [{name: etcd, command: [etcd, "--initial-cluster=` + two + `", "` + state + `"]}]}`
		if got, err := joinedCluster([]byte(manifest)); err != nil || got != want {
			t.Errorf("%q: %q, %v", state, got, err)
		}
	}
}

// What a cluster tells of itself is what its nodes report and its mirrors run.
func TestAsk(t *testing.T) {
	configMap := func(name string, data map[string]string) runtime.Object {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system"}, Data: data}
	}
	node := func(name string, control bool, ready corev1.ConditionStatus) runtime.Object {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
		if control {
			n.Labels[roleLabel] = ""
		}
		n.Status.NodeInfo.KubeletVersion = "v1.36.1"
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return n
	}
	pod := func(name, node, image string, mirror bool) runtime.Object {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system"}}
		if mirror {
			p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		}
		p.Spec = corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Image: image}}}
		return p
	}
	client := fake.NewClientset(
		configMap("kubeadm-config", map[string]string{"ClusterConfiguration": "c"}), configMap("kubelet-config", map[string]string{"kubelet": "k"}),
		node("cp1", true, corev1.ConditionTrue), node("cp2", true, corev1.ConditionUnknown), node("w1", false, corev1.ConditionFalse),
		pod("kube-apiserver-cp1", "cp1", "localhost:5000/kube-apiserver:v1.36.3", true), pod("etcd-cp1", "cp1", "registry.k8s.io/etcd:3.6.8-0@sha256:12", true),
		pod("coredns-x", "w1", "coredns:v1", false),
	)
	got, err := Ask(t.Context(), client, true, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	want := Survey{
		Documents: config.SharedDocuments{Cluster: "c", Kubelet: "k"},
		Running:   []Running{{"cp1", "etcd", "3.6.8-0"}, {"cp1", "kube-apiserver", "v1.36.3"}},
		Kubelets:  map[string]string{"cp1": "v1.36.1", "cp2": "v1.36.1", "w1": "v1.36.1"},
		NotReady:  []string{"cp2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	target := &config.ClusterConfiguration{KubernetesVersion: "v1.36.3", ImageRepository: "r", Etcd: config.Etcd{Local: &config.LocalEtcd{}}}
	changes := got.Changes(target, "v1.36.1")
	if diff := cmp.Diff([]ComponentChange{{"cp1", "etcd", "3.6.8-0", imageVersion(target.Image("etcd"))}}, changes); diff != "" {
		t.Error(diff)
	}
	wantFinding(t, got.Health(t.Context(), nil, false), "control plane cp2 is not Ready")
	wantFinding(t, got.Health(t.Context(), nil, true), "")
}

// While authorities are rotated nothing is upgraded, whoever has begun it.
func TestUpgradeOfRotating(t *testing.T) {
	names, objects := []string{"kubeadm-config", "kubelet-config", config.RotationMap}, []runtime.Object{}
	for _, name := range names {
		objects = append(objects, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system"}})
	}
	got, err := Ask(t.Context(), fake.NewClientset(objects...), true, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wantFinding(t, got.Health(t.Context(), nil, true), "the authorities of the cluster are being rotated: 'boot certs rotate-ca'")
}

func TestAskWithoutConfiguration(t *testing.T) {
	_, err := Ask(t.Context(), fake.NewClientset(), false, time.Minute)
	wantError(t, err, "no ConfigMap kube-system/kubeadm-config", "boot init phase upload-config")
}

// What speaks against an upgrade stops it before any image is got.
func TestUpgradePreflight(t *testing.T) {
	o := UpgradeOptions{Config: &config.Init{}, Findings: found("VersionSkew", "do that first", "it is too far"), Images: noImages{}}
	_, err := upgradePreflight{o}.Plan(t.Context())
	var unfit *PreflightError
	if !errors.As(err, &unfit) || len(unfit.Findings) != 1 {
		t.Error(err)
	}
	wantError(t, err, "the cluster is not ready:\n  [VersionSkew] it is too far: do that first", "--ignore-preflight-errors=VersionSkew")
	o.Ignore = []string{"versionskew"}
	changes, err := upgradePreflight{o}.Plan(t.Context())
	if err != nil || len(changes) != 1 || changes[0].Desc != "get the image "+o.Config.Cluster.Image(config.ComponentProxy) {
		t.Error(changes, err)
	}
}

type noImages struct{ Images }

func (noImages) Present(context.Context, string) (bool, error) { return false, nil }
