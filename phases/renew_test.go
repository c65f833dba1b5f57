package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"boot.internal/atomicfile"
	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// A renewWorld is a control plane with all of its certificates and manifests, whose
// loop runs what the manifests say.
type renewWorld struct {
	*world
	o     RenewOptions
	loops map[string]*rolloutWorld
}

func newRenewWorld(t *testing.T) *renewWorld {
	w := &renewWorld{world: newWorld(t, ""), loops: map[string]*rolloutWorld{}}
	w.makeCerts()
	dir := w.cfg.Kubelet.StaticPodPath
	w.o = RenewOptions{
		Places: certs.Places{PKI: w.cfg.Cluster.CertificatesDir, Kubernetes: w.dirs.Kubernetes, Kubelet: filepath.Join(w.dirs.Kubelet, "pki")},
		Rollout: RolloutOptions{
			Manifests: dir, State: w.dirs.State, Service: &fakeService{running: true}, Node: "node-1", Components: lookFunc(w.look),
			Identify: func(manifest []byte, _ string) (string, error) { return uidOf(string(manifest)), nil },
		},
	}
	for _, component := range []string{config.ComponentControllerManager, config.ComponentScheduler} {
		manifest := []byte("metadata: {annotations: {}}\nname: " + component + "\n")
		manifest, err := templates.WithHash(manifest, w.o.hashOf(component))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, component+".yaml")
		if err := atomicfile.Write(path, manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		w.loops[component] = &rolloutWorld{t: t, path: path, running: string(manifest), since: time.Now()}
	}
	return w
}

func (w *renewWorld) look() ([]Component, error) {
	var all []Component
	for component, l := range w.loops {
		own, err := l.Look(w.t.Context())
		if err != nil {
			return nil, err
		}
		own[0].Pod = component
		all = append(all, own...)
	}
	return all, nil
}

func (w *renewWorld) find(names ...string) []certs.Held {
	w.t.Helper()
	held, err := certs.Find(certs.Hold(w.o.Places), names)
	if err != nil {
		w.t.Fatal(err)
	}
	return held
}

// renew returns the phases that renew what has the names.
func (w *renewWorld) renew(names ...string) []Step {
	o := w.o
	o.Held = w.find(names...)
	return Renew(o)
}

func (w *renewWorld) asides() []string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(w.dirs.State, "rollout/*.*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// A pod is replaced exactly if it would not notice.
func TestRenewReplacesWhatWouldNotNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		for _, c := range []struct {
			names []string
			want  []string
		}{
			{[]string{"etcd-peer", "front-proxy-client", "kubelet.conf", "admin.conf"}, nil},
			{[]string{"scheduler.conf"}, []string{"kube-scheduler"}},
			{[]string{"all"}, []string{"kube-controller-manager", "kube-scheduler"}},
		} {
			var replaced []string
			for _, change := range w.run(w.renew(c.names...)...) {
				if pod, ok := strings.CutPrefix(change, "wait for the new "); ok {
					replaced = append(replaced, pod)
				}
			}
			if diff := cmp.Diff(c.want, replaced); diff != "" {
				t.Errorf("%q: %s", c.names, diff)
			}
		}
		if left := w.asides(); left != nil {
			t.Errorf("left: %q", left)
		}
	})
}

func TestRenewPlans(t *testing.T) {
	w := newRenewWorld(t)
	changes, err := runSteps(t.Context(), Runner{DryRun: true}, w.renew("scheduler.conf")...)
	conf := certs.KubeconfigTree(w.dirs.Kubernetes).Scheduler
	end := w.find("scheduler.conf")[0].Certificate.NotAfter.UTC().Format(time.DateTime)
	want := []string{
		"keep " + conf + " in " + filepath.Join(w.dirs.State, "rollout/scheduler.conf"), "renew " + conf + ", which ends on " + end,
	}
	if diff := cmp.Diff(want, changes); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// Whenever a run is killed, the next one leaves everything renewed and used.
func TestRenewGoesOn(t *testing.T) {
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			w := newRenewWorld(t)
			before := w.find("scheduler.conf", "controller-manager.conf")
			w.killAfter(after, w.renew("scheduler.conf", "controller-manager.conf")...)
			w.run(w.renew("scheduler.conf", "controller-manager.conf")...)
			for i, h := range w.find("scheduler.conf", "controller-manager.conf") {
				if h.Certificate.Equal(before[i].Certificate) {
					t.Errorf("%s is not renewed", h.Name)
				}
			}
			for component := range w.loops {
				if hash, err := templates.HashOf([]byte(w.loops[component].running)); err != nil || hash != w.o.hashOf(component) {
					t.Errorf("%s runs with the hash %q, %v", component, hash, err)
				}
			}
			if left := w.asides(); left != nil {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A pod that is no good with its new certificate gets the old one back.
func TestRenewReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		scheduler := w.loops[config.ComponentScheduler]
		before, conf := scheduler.running, certs.KubeconfigTree(w.dirs.Kubernetes).Scheduler
		old := read(t, conf)
		w.o.Rollout.Components = lookFunc(func() ([]Component, error) {
			all, err := w.look()
			i := slices.IndexFunc(all, func(c Component) bool { return c.Pod == config.ComponentScheduler })
			if scheduler.running != before {
				all[i].State, all[i].ExitCode = ContainerExited, 1
				all[i].Restarts = int(time.Since(scheduler.since) / time.Second)
			}
			return all, err
		})
		_, err := runSteps(t.Context(), Runner{}, w.renew("scheduler.conf")...)
		wantError(t, err, "kube-scheduler ended 3 times", "")
		wantError(t, err, "kube-scheduler runs with its old manifest again", "")
		if read(t, conf) != old || scheduler.running != before || w.asides() != nil {
			t.Errorf("runs %s; left: %q", scheduler.running, w.asides())
		}
	})
}

// A manifest of kubeadm's has no hash, which alone is no reason to replace its pod.
func TestRenewWithoutHashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRenewWorld(t)
		for _, l := range w.loops {
			l.running = "metadata: {name: a}\n"
			l.write(l.running)
		}
		if changes := w.run(w.renew("admin.conf")...); len(changes) != 1 {
			t.Errorf("%q", changes)
		}
		w.run(w.renew("scheduler.conf")...)
		if l := w.loops[config.ComponentScheduler]; !strings.Contains(l.running, templates.CertsHash) {
			t.Error(l.running)
		}
		if l := w.loops[config.ComponentControllerManager]; strings.Contains(l.running, templates.CertsHash) {
			t.Error(l.running)
		}
	})
}

// With another's etcd, it is that one's authority that counts.
func TestRenewBesideExternalEtcd(t *testing.T) {
	w := newRenewWorld(t)
	manifest := "spec: {containers: [{command: [kube-apiserver, --etcd-cafile=/elsewhere/ca.crt]}]}\n"
	path := filepath.Join(w.o.Rollout.Manifests, config.ComponentAPIServer+".yaml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if files := w.o.readOnce(config.ComponentAPIServer); !slices.Contains(files, "/elsewhere/ca.crt") {
		t.Errorf("%q", files)
	}
}

// What a component serves with is looked at where its manifest says that it serves.
func TestRenewWaitsUntilItIsUsed(t *testing.T) {
	w := running(t, "")
	host, port, _ := strings.Cut(strings.TrimPrefix(localURL(w.cfg), "https://"), ":")
	manifest := "spec: {containers: [{readinessProbe: {httpGet: {host: " + host + ", port: " + port + ", scheme: HTTPS, path: /readyz}}}]}\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.ComponentAPIServer+".yaml"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	u := &use{
		held: certs.Places{PKI: w.cfg.Cluster.CertificatesDir}, name: "apiserver", component: config.ComponentAPIServer, manifests: dir, address: probed,
	}
	if changes, err := u.Plan(t.Context()); err != nil || len(changes) > 0 {
		t.Error(changes, err)
	}
	held, err := certs.Find(certs.Hold(u.held), []string{"apiserver"})
	if err != nil {
		t.Fatal(err)
	}
	if err := held[0].Renew(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	changes, err := u.Plan(t.Context())
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	if err := u.shown(t.Context(), host+":"+port); err == nil || !strings.Contains(err.Error(), "kube-apiserver still serves with another certificate") {
		t.Error(err)
	}
}

// What has been waited for is not looked for again by the plan that follows: on a
// slow host that look alone could take too long.
func TestRenewLooksNoMoreOnceItIsUsed(t *testing.T) {
	w := running(t, "")
	address := strings.TrimPrefix(localURL(w.cfg), "https://")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, config.ComponentAPIServer+".yaml"), []byte("spec: {containers: [{name: c}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	looks := 0
	u := &use{
		held: certs.Places{PKI: w.cfg.Cluster.CertificatesDir}, name: "apiserver", component: config.ComponentAPIServer, manifests: dir,
		address: func(*corev1.Pod) string {
			if looks++; looks > 1 {
				t.Error("it is looked for again")
			}
			return address
		},
	}
	// Nobody serves with the certificate yet when it is looked for first.
	held, err := certs.Find(certs.Hold(u.held), []string{u.name})
	if err != nil {
		t.Fatal(err)
	}
	served, err := os.ReadFile(held[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := held[0].Renew(0, time.Now()); err != nil {
		t.Fatal(err)
	}
	phase := PlanFunc(func(ctx context.Context) ([]Change, error) {
		changes, err := u.Plan(ctx)
		return changes, errors.Join(err, os.WriteFile(held[0].Path, served, 0o600)) // what is served is on the disk again
	})
	if _, err := runSteps(t.Context(), Runner{}, Step{Name: "use", Phase: phase}); err != nil {
		t.Error(err)
	}
}
