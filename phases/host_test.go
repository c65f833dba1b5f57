package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/config"
	"boot.internal/templates"
)

func (w *world) kubelet(s Service) Phase {
	return kubeletStart{w.cfg, templates.Patches{}, w.dirs.Kubelet, s, ownServer(w.cfg), nil}
}

func TestKubeletStart(t *testing.T) {
	w := newWorld(t, `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {criSocket: "unix:///run/containerd/containerd.sock"}
---
apiVersion: boot.internal/v1
kind: BootConfiguration
network: none
`)
	service := &fakeService{}
	path := filepath.Join(w.dirs.Kubelet, "config.yaml")
	want := []string{"write " + path, "start the kubelet loop"}
	if diff := cmp.Diff(want, w.runPhase(w.kubelet(service))); diff != "" {
		t.Error(diff)
	}
	if again := w.runPhase(w.kubelet(service)); len(again) > 0 || service.starts != 1 {
		t.Errorf("again %q, %d starts", again, service.starts)
	}
	loop, err := config.LoadKubelet(config.LoopOptions{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if loop.Kubelet.ContainerRuntimeEndpoint != "unix:///run/containerd/containerd.sock" || loop.Kubelet.StaticPodPath != w.cfg.Kubelet.StaticPodPath {
		t.Errorf("the loop reads %+v", loop.Kubelet)
	}
	boot := w.cfg.Boot
	boot.APIServers = ownServer(w.cfg)
	if diff := cmp.Diff(boot, loop.Boot); diff != "" || len(boot.APIServers) != 1 {
		t.Error(diff)
	}
	if len(w.cfg.Boot.APIServers) > 0 {
		t.Error("this node's API server got into the configuration of all nodes")
	}
	if w.cfg.Kubelet.ContainerRuntimeEndpoint != "" {
		t.Error("this node's socket got into the configuration of all nodes")
	}
}

func TestKubeletStartedAgain(t *testing.T) {
	w, service := newWorld(t, ""), &fakeService{}
	w.runPhase(w.kubelet(service))
	service.running = false
	if diff := cmp.Diff([]string{"start the kubelet loop"}, w.runPhase(w.kubelet(service))); diff != "" {
		t.Error(diff)
	}
	w.cfg.Kubelet.MaxPods = 7
	want := []string{
		"stop the kubelet loop, whose configuration changes",
		"rewrite " + filepath.Join(w.dirs.Kubelet, "config.yaml"),
		"start the kubelet loop",
	}
	for n := range want {
		w.cfg.Kubelet.MaxPods++
		w.killAfter(n, Step{Name: "kubelet-start", Phase: w.kubelet(service)})
		if diff := cmp.Diff(want[n:], w.runPhase(w.kubelet(service))); diff != "" {
			t.Errorf("after %d changes: %s", n, diff)
		}
	}
	service.err = errors.New("no such service manager")
	_, err := w.kubelet(service).Plan(t.Context())
	wantError(t, err, "look for the kubelet loop: no such service manager", "")
}

func TestCertificatePhasesSayWhyTheyRenew(t *testing.T) {
	w := newWorld(t, "")
	w.makeCerts()
	w.cfg.Cluster.APIServer.CertSANs = []string{"new.example"}
	steps, err := Init(w.options())
	if err != nil {
		t.Fatal(err)
	}
	steps, err = Only(steps, "certs/apiserver")
	if err != nil {
		t.Fatal(err)
	}
	crt, key := w.tree().APIServer.Cert, w.tree().APIServer.Key
	want := []string{
		"renew " + key + ": a renewed certificate gets a new key",
		"renew " + crt + ": it does not name new.example",
	}
	if diff := cmp.Diff(want, w.run(steps...)); diff != "" {
		t.Error(diff)
	}
}

func TestPlanDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b")
	w := newWorld(t, "")
	p := PlanFunc(func(context.Context) ([]Change, error) { return planDir(dir) })
	if diff := cmp.Diff([]string{"create " + dir}, w.runPhase(p)); diff != "" {
		t.Error(diff)
	}
	if fi, err := os.Stat(dir); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := planDir(file)
	wantError(t, err, "use "+file+": not a directory", "out of the way")
	if _, err := planDir(filepath.Join(file, "below")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}
