package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/certs"
)

// An etcdWorld is a node whose etcd is to join that of another control plane.
type etcdWorld struct {
	*world
	etcd    *fakeEtcd
	phase   joinEtcd
	running bool // etcd, on this node
}

// archive is an engine that has all images.
type archive struct{}

func (archive) Present(context.Context, string) (bool, error) { return true, nil }
func (archive) Get(context.Context, string) error             { return nil }

func newEtcdJoin(t *testing.T) *etcdWorld {
	t.Helper()
	w := &etcdWorld{world: running(t, ""), etcd: &fakeEtcd{}}
	url := w.etcd.join(t, w.world, 7, "cp1")
	w.etcd.members[0].PeerURLs = []string{"https://192.0.2.7:2380"}
	w.put(&corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "etcd-cp1", Annotations: map[string]string{etcdClientURLs: url}},
		Spec:       corev1.PodSpec{NodeName: "cp1"},
	})
	api := w.api()
	w.cfg.Init.Timeouts.EtcdAPICall = &metav1.Duration{Duration: 20 * time.Second}
	w.cfg.Init.Timeouts.ControlPlaneComponentHealthCheck = &metav1.Duration{Duration: 20 * time.Second}
	o, err := pkiOptions(w.cfg, w.dirs)
	if err != nil {
		t.Fatal(err)
	}
	w.phase = joinEtcd{
		cfg: w.cfg, api: api, pods: manifests{cfg: w.cfg, pki: certs.New(o)}, tree: w.tree(), images: archive{}, dir: w.dirs.State, patience: time.Second,
		components: lookFunc(w.look),
	}
	w.etcd.ready = func(*etcdserverpb.Member) error {
		if !exists(w.phase.manifest()) {
			return rpctypes.ErrGRPCLearnerNotReady
		}
		return nil
	}
	return w
}

// look sees an etcd that stops when its manifest is gone.
func (w *etcdWorld) look() ([]Component, error) {
	w.running = w.running && exists(w.phase.manifest())
	if w.running {
		return []Component{{Pod: "etcd", Container: "etcd", State: ContainerRunning}}, nil
	}
	return nil, nil
}

// data puts data of etcd on the node, as a file, whose name tells whose it is.
func (w *etcdWorld) data(name string) string {
	w.t.Helper()
	path := filepath.Join(w.phase.dataDir(), "member", name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// learner is this node's, added in an attempt that was killed.
func (w *etcdWorld) learner() uint64 {
	w.etcd.members = append(w.etcd.members, &etcdserverpb.Member{ID: 0x50, PeerURLs: []string{w.phase.peerURL()}, IsLearner: true})
	return 0x50
}

// voters lists the members, learners in parentheses.
func (w *etcdWorld) voters() string {
	var all []string
	for _, m := range w.etcd.members {
		name := m.Name
		if m.IsLearner {
			name = "(" + name + ")"
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

// joined checks that the node is a voter that starts with both members.
func (w *etcdWorld) joined() {
	w.t.Helper()
	if got := w.voters(); got != "cp1 node-1" {
		w.t.Errorf("members: %s", got)
	}
	pod, err := readPod(w.phase.manifest())
	if err != nil {
		w.t.Fatal(err)
	}
	want := "cp1=https://192.0.2.7:2380,node-1=" + w.phase.peerURL()
	if got := flagOf(pod, "initial-cluster"); got != want {
		w.t.Errorf("initial cluster %s, want %s", got, want)
	}
	if state := flagOf(pod, "initial-cluster-state"); state != "existing" {
		w.t.Errorf("state %q", state)
	}
	if w.phase.note().there() {
		w.t.Error("the note that it joins is still there")
	}
	if holder := w.holder(); holder != "" {
		w.t.Errorf("%s still has the turn", holder)
	}
}

func TestEtcdJoinsAsALearner(t *testing.T) {
	w := newEtcdJoin(t)
	changes := w.runPhase(w.phase)
	if len(changes) != 1 || !strings.HasPrefix(changes[0], "add node-1 to the etcd cluster of cp1 as a learner, write ") {
		t.Errorf("changed %q", changes)
	}
	w.joined()

	// Members that come later are no reason to write another manifest.
	w.etcd.members = append(w.etcd.members, &etcdserverpb.Member{ID: 9, Name: "cp3", PeerURLs: []string{"https://192.0.2.9:2380"}})
	if changes := w.plan(w.phase); len(changes) > 0 {
		t.Errorf("left: %q", changes)
	}
}

// With another vote there may be no leader for a moment: that is no end to a join that
// went well.
func TestEtcdHasJoinedWhoeverLeadsIt(t *testing.T) {
	w := newEtcdJoin(t)
	asked := 0
	w.etcd.leaderless = func() bool {
		if !exists(w.phase.manifest()) || w.phase.note().there() {
			return false
		}
		asked++ // since it is done
		return asked < 3
	}
	w.runPhase(w.phase)
	w.joined()
	if asked < 3 {
		t.Errorf("asked %d times", asked)
	}
}

func TestEtcdJoinsBeforeAnythingIsThere(t *testing.T) {
	w := newEtcdJoin(t)
	w.phase.api.kubeconfigs = certs.KubeconfigTree(t.TempDir())
	if changes := w.plan(w.phase); len(changes) != 1 {
		t.Errorf("would change %q", changes)
	}
}

func TestEtcdJoinsAfterAKill(t *testing.T) {
	for name, killed := range map[string]func(*etcdWorld){
		"added": func(w *etcdWorld) { w.learner() },
		"noted": func(w *etcdWorld) { w.noted(w.learner()) },
		"started": func(w *etcdWorld) {
			w.noted(w.learner())
			w.written()
			w.data("kept")
		},
		"promoted": func(w *etcdWorld) {
			id := w.learner()
			w.noted(id)
			w.data("kept")
			w.etcd.members[1] = &etcdserverpb.Member{ID: id, Name: "node-1", PeerURLs: []string{w.phase.peerURL()}}
		},
		"removed by others since": func(w *etcdWorld) {
			w.noted(0x50)
			w.written()
			w.running = true
			w.data("gone")
		},
		"removed and added by others": func(w *etcdWorld) {
			w.noted(0x49)
			w.learner()
			w.data("gone")
		},
		"a member without its data": func(w *etcdWorld) {
			w.learner()
			w.etcd.members[1].Name = "node-1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEtcdJoin(t)
			killed(w)
			w.runPhase(w.phase)
			w.joined()
			if gone := filepath.Join(w.phase.dataDir(), "member/gone"); exists(gone) {
				t.Error("the data of a learner that was removed is still there")
			}
			if kept := filepath.Join(w.phase.dataDir(), "member/kept"); !exists(kept) && (name == "started" || name == "promoted") {
				t.Error("the data of the member is gone")
			}
		})
	}
}

// noted is that an attempt before this one has begun as a member.
func (w *etcdWorld) noted(id uint64) {
	w.t.Helper()
	if err := w.phase.note().write(id); err != nil {
		w.t.Fatal(err)
	}
}

// written is that it has written the manifest.
func (w *etcdWorld) written() {
	w.t.Helper()
	changes, err := w.phase.pods.planEtcd("cp1=https://192.0.2.7:2380,node-1=" + w.phase.peerURL())
	for _, c := range changes {
		err = errors.Join(err, c.Apply(w.t.Context()))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAFailedJoinRemovesItsLearner(t *testing.T) {
	w := newEtcdJoin(t)
	well := w.etcd.ready
	w.etcd.ready = func(*etcdserverpb.Member) error { return rpctypes.ErrGRPCLearnerNotReady }
	limits := w.cfg.Init.Timeouts
	err := outlasts(func(patience time.Duration) error {
		less := *limits
		less.ControlPlaneComponentHealthCheck = &metav1.Duration{Duration: patience}
		w.cfg.Init.Timeouts = &less
		_, err := runSteps(t.Context(), Runner{}, Step{Name: "etcd-join", Phase: w.phase})
		return err
	}, "it has not started yet")
	w.cfg.Init.Timeouts = limits
	wantError(t, err, "it has not started yet", "port 2380")
	if got := w.voters(); got != "cp1" || exists(w.phase.manifest()) {
		t.Errorf("members: %s", got)
	}
	stale := w.data("gone")
	w.etcd.ready = well
	w.runPhase(w.phase)
	w.joined()
	if exists(stale) {
		t.Error("it joined with the data of the learner that was removed")
	}
}

func TestALearnerThatWasLeftBehindIsRemoved(t *testing.T) {
	w := newEtcdJoin(t)
	w.etcd.members = append(w.etcd.members, &etcdserverpb.Member{ID: 0x66, PeerURLs: []string{"https://192.0.2.66:2380"}, IsLearner: true})
	w.etcd.ready = func(m *etcdserverpb.Member) error {
		if m.ID == 0x66 || !exists(w.phase.manifest()) {
			return rpctypes.ErrGRPCLearnerNotReady
		}
		return nil
	}
	said, err := trace(t.Context(), Runner{}, Step{Name: "etcd-join", Phase: w.phase})
	if err != nil || !strings.Contains(said, "warned the learner 66 at https://192.0.2.66:2380 was left behind") {
		t.Fatalf("%v: %s", err, said)
	}
	w.joined()
}

func TestEtcdThatCanNotJoin(t *testing.T) {
	for name, c := range map[string]struct {
		change       func(*etcdWorld)
		text, advice string
	}{
		"somebody else's data":                  {func(w *etcdWorld) { w.data("theirs") }, "holds the data of another etcd", "boot reset"},
		"somebody else's data for a new member": {func(w *etcdWorld) { w.learner(); w.data("theirs") }, "holds the data of another etcd", "boot reset"},
		"its name is taken": {func(w *etcdWorld) {
			w.etcd.members = append(w.etcd.members, &etcdserverpb.Member{ID: 0x77, Name: "node-1", PeerURLs: []string{"https://192.0.2.77:2380"}})
		}, "another member called node-1", "boot etcd remove 77"},
		"no etcd": {func(w *etcdWorld) { w.phase.cfg.Init.NodeRegistration.Name = "cp1" }, "no etcd pod", "external"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newEtcdJoin(t)
			c.change(w)
			_, err := runSteps(t.Context(), Runner{}, Step{Name: "etcd-join", Phase: w.phase})
			wantError(t, err, c.text, c.advice)
			if exists(w.phase.manifest()) || strings.Contains(w.voters(), "(") {
				t.Errorf("something is left of it: %s", w.voters())
			}
		})
	}
}
