package phases

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"boot.internal/atomicfile"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/templates"
)

// A restoreWorld is a control plane whose loop runs whatever manifest there is, at
// the next look. Its etcdutl makes data at once.
type restoreWorld struct {
	t       *testing.T
	dir     string
	data    string
	fails   bool // etcdutl does
	running map[string]string
	served  []string // data that etcd has run with, in order
}

const restoredEtcd = `apiVersion: v1
kind: Pod
metadata: {name: etcd}
spec:
  containers:
  - name: etcd
    image: registry.k8s.io/etcd:3
    command: [etcd, --name=cp1, "--initial-advertise-peer-urls=https://192.0.2.1:2380", "--initial-cluster=cp1=https://192.0.2.1:2380%s"]
  volumes:
  - {name: etcd-data, hostPath: {path: %s}}
`

func newRestoreWorld(t *testing.T, others string) *restoreWorld {
	w := &restoreWorld{t: t, dir: t.TempDir(), running: map[string]string{}}
	w.data = filepath.Join(w.dir, "etcd")
	w.write(filepath.Join(w.data, "member", "id"), "now")
	w.write(w.manifest(config.ComponentEtcd), fmt.Sprintf(restoredEtcd, others, w.data))
	for _, name := range []string{config.ComponentAPIServer, config.ComponentControllerManager, config.ComponentScheduler} {
		w.write(w.manifest(name), "metadata: {name: "+name+"}")
	}
	return w
}

func (w *restoreWorld) write(path, text string) {
	w.t.Helper()
	if err := atomicfile.Write(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *restoreWorld) manifest(name string) string {
	return filepath.Join(w.dir, "manifests", name+".yaml")
}

// Look is the loop and the engine.
func (w *restoreWorld) Look(context.Context) ([]Component, error) {
	files, err := filepath.Glob(w.manifest("*"))
	if err != nil {
		return nil, err
	}
	now := map[string]string{}
	var all []Component
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		now[name] = read(w.t, path)
		c := Component{Pod: name, PodUID: uidOf(now[name]), PodSince: time.Now(), Container: name, State: ContainerRunning}
		if w.running[name] != now[name] {
			w.start(name)
		}
		if name == templates.EtcdRestoreName {
			c.State = ContainerExited
			if w.fails {
				c.ExitCode = 1
			}
		}
		all = append(all, c)
	}
	w.running = now
	return all, nil
}

func (w *restoreWorld) start(name string) {
	switch name {
	case config.ComponentEtcd:
		w.served = append(w.served, read(w.t, filepath.Join(w.data, "member", "id")))
	case templates.EtcdRestoreName:
		if !w.fails {
			w.write(filepath.Join(w.data, restoreDirName, w.snapshot().Digest[:16]+".made", "member", "id"), "then")
		}
	}
}

func (w *restoreWorld) snapshot() etcd.Snapshot {
	return etcd.Snapshot{Path: "/snapshot.db", Revision: 7, Digest: strings.Repeat("ab", 32)}
}

func (w *restoreWorld) steps() []Step {
	w.t.Helper()
	steps, err := EtcdRestore(EtcdRestoreOptions{Snapshot: w.snapshot(), NewCluster: true, Rollout: RolloutOptions{
		Manifests: filepath.Join(w.dir, "manifests"), State: w.dir, Components: w, Service: &fakeService{running: true}, Node: "cp1",
		Identify: func(manifest []byte, _ string) (string, error) { return uidOf(string(manifest)), nil },
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return s.Name == "preflight" }) // it asks a real etcd
}

// done checks that everything runs, with the data of the snapshot.
func (w *restoreWorld) done() {
	w.t.Helper()
	if _, err := w.Look(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if len(w.running) != 4 || w.served[len(w.served)-1] != "then" {
		w.t.Errorf("%d run, etcd had %q", len(w.running), w.served)
	}
	kept, err := filepath.Glob(filepath.Join(w.data, replacedPrefix+"*", "id"))
	if err != nil || len(kept) != 1 || read(w.t, kept[0]) != "now" {
		w.t.Errorf("kept %q, %v", kept, err)
	}
	if exists(filepath.Join(w.data, restoreDirName)) || exists(w.manifest(templates.EtcdRestoreName)) {
		w.t.Error("notes are left")
	}
}

func TestRestoreInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRestoreWorld(t, "")
		before := read(t, w.manifest(config.ComponentEtcd))
		changes, err := runSteps(t.Context(), Runner{}, w.steps()...)
		member := filepath.Join(w.data, "member")
		want := []string{
			"make the data of etcd of the snapshot (revision 7) in " + filepath.Join(w.data, restoreDirName),
			"stop kube-scheduler, kube-controller-manager", "stop kube-apiserver", "stop etcd",
			"keep " + member + " beside it, as member-before-restore-…", "put the data of the snapshot in place of " + member,
			"start etcd", "start kube-apiserver", "start kube-scheduler, kube-controller-manager",
			"remove " + filepath.Join(w.data, restoreDirName),
		}
		if diff := cmp.Diff(want, changes); err != nil || diff != "" {
			t.Error(err, diff)
		}
		w.done()
		if after := read(t, w.manifest(config.ComponentEtcd)); after != before {
			t.Errorf("the manifest is %s", after)
		}
	})
}

// Whatever a run is killed after, the next one finishes the job.
func TestRestoreInPlaceGoesOn(t *testing.T) {
	for after := range 10 {
		synctest.Test(t, func(t *testing.T) {
			w := newRestoreWorld(t, "")
			(&world{t: t}).killAfter(after, w.steps()...)
			if _, err := runSteps(t.Context(), Runner{}, w.steps()...); err != nil {
				t.Errorf("after %d: %v", after, err)
			}
			w.done()
		})
	}
}

// Data that cannot be made stops nothing.
func TestRestoreInPlaceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRestoreWorld(t, "")
		w.fails = true
		_, err := runSteps(t.Context(), Runner{}, w.steps()...)
		wantError(t, err, "etcd-restore: container etcd-restore exited with code 1", "")
		if _, err := w.Look(t.Context()); err != nil || len(w.running) != 4 || read(t, filepath.Join(w.data, "member", "id")) != "now" {
			t.Errorf("%d run, %v", len(w.running), err)
		}
	})
}

// A member that had others has none any more, and its manifest says so.
func TestRestoreInPlaceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRestoreWorld(t, ",cp2=https://192.0.2.2:2380")
		if _, err := runSteps(t.Context(), Runner{}, w.steps()...); err != nil {
			t.Fatal(err)
		}
		w.done()
		pod, err := readPod(w.manifest(config.ComponentEtcd))
		if err != nil || flagOf(pod, "initial-cluster") != "cp1=https://192.0.2.1:2380" || flagOf(pod, "name") != "cp1" {
			t.Errorf("%v %v", pod, err)
		}
	})
}

func TestRestoreNeedsRoomAndALoop(t *testing.T) {
	w := newRestoreWorld(t, "")
	for _, c := range []struct {
		size    int64
		running bool
		says    string
	}{{1, false, "the kubelet loop does not run"}, {1 << 60, true, "MiB free"}} {
		o := EtcdRestoreOptions{Snapshot: w.snapshot(), Rollout: RolloutOptions{
			Manifests: filepath.Join(w.dir, "manifests"), State: w.dir, Service: &fakeService{running: c.running},
		}}
		o.Snapshot.Size = c.size
		steps, err := EtcdRestore(o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = runSteps(t.Context(), Runner{}, steps[0])
		wantError(t, err, c.says, "")
	}
	if err := os.Remove(w.manifest(config.ComponentEtcd)); err != nil {
		t.Fatal(err)
	}
	_, err := EtcdRestore(EtcdRestoreOptions{Rollout: RolloutOptions{Manifests: filepath.Join(w.dir, "manifests"), State: w.dir}})
	wantError(t, err, "this node has no etcd", "boot restore")
}

// Members that cannot be taken out of etcd are warned of, and keep nobody from going
// back.
func TestRestoreInPlaceLeaves(t *testing.T) {
	w := newRestoreWorld(t, ",cp2=https://192.0.2.2:2380")
	var said []string
	leave := func(asked bool) {
		said = nil
		steps, err := EtcdRestore(EtcdRestoreOptions{Snapshot: w.snapshot(), NewCluster: asked, Rollout: RolloutOptions{Manifests: filepath.Join(w.dir, "manifests"), State: w.dir}})
		if err != nil {
			t.Fatal(err)
		}
		step := steps[slices.IndexFunc(steps, func(s Step) bool { return s.Name == "restore/leave" })]
		err = Runner{Report: func(e Event) {
			if e.State == Warned {
				said = append(said, e.Text)
			}
		}}.Run(t.Context(), []Step{step})
		if err != nil {
			t.Error(err)
		}
	}
	if leave(true); len(said) != 1 || !strings.Contains(said[0], "have their nodes reset before they come back") {
		t.Errorf("etcd that does not answer: %q", said)
	}
	if leave(false); len(said) != 0 {
		t.Errorf("nobody is to be left: %q", said)
	}
	if err := move(w.manifest(config.ComponentEtcd), filepath.Join(w.dir, "restore", "manifests", "etcd.yaml")); err != nil {
		t.Fatal(err)
	}
	if leave(true); len(said) != 0 {
		t.Errorf("etcd is stopped: %q", said)
	}
}

// Where etcd does not tell its members, it is the snapshot that knows of others, who
// may go on without this node.
func TestRestoreInPlaceUnheard(t *testing.T) {
	for _, c := range []struct {
		name       string
		store      func(*archived)
		says, hint string // "": it goes on
	}{
		{"alone", func(*archived) {}, "", ""},
		{"others", func(a *archived) { a.controlPlane("cp2") }, "the snapshot has other control planes, which may go on without this node: cp2", "--new-cluster"},
		{"unreadable", func(a *archived) { a.put(nodeKeys+"cp2", []byte("k8s:enc:aescbc:v1:key1:…")) }, "Node cp2 in the snapshot: it is encrypted", "--new-cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newArchived(t)
			a.controlPlane("cp1")
			c.store(a)
			r := inPlace{EtcdRestoreOptions: EtcdRestoreOptions{
				Snapshot: etcd.Snapshot{Path: a.Path(archivedEtcd)}, Rollout: RolloutOptions{Node: "cp1"},
			}}
			why := errors.New("connection refused")
			err := r.unheard(t.Context(), why)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, c.says, c.hint)
			if !errors.Is(err, why) {
				t.Errorf("it does not say why: %v", err)
			}
		})
	}
}

func TestEtcdRestorePod(t *testing.T) {
	m, err := templates.EtcdRestore(templates.EtcdRestoration{
		Image: "registry.k8s.io/etcd:3", Member: "cp1", PeerURL: "https://192.0.2.1:2380", Token: "t", Snapshot: "/s.db", Dir: "/var/lib/etcd/.restore", Out: "x.made", Bump: 5,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"- --mark-compacted", "- --bump-revision=5", "- --data-dir=/restore/x.made", "- --initial-cluster-token=t", "path: /s.db", "restartPolicy: Never"} {
		if !bytes.Contains(m.Data, []byte(want)) {
			t.Errorf("%q is not in\n%s", want, m.Data)
		}
	}
}
