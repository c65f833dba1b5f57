package phases

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"boot.internal/certs"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it:\n%s", path, diff)
	}
}

// initSteps are all of init but preflight and the wait, for which there would
// have to be components; in its place the API server is started.
func (w *world) initSteps(service Service) []Step {
	w.t.Helper()
	w.api() // for its short timeout
	o := w.options()
	o.Service, o.Preflight, o.Components = service, ready, nothing
	steps, err := Init(o)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range steps {
		if steps[i].Name == "wait-control-plane" {
			steps[i].Phase = PlanFunc(func(context.Context) ([]Change, error) {
				w.up()
				return nil, nil
			})
		}
	}
	return steps
}

var ready = PlanFunc(func(context.Context) ([]Change, error) { return nil, nil })

// up starts the API server and has the loop register the node, once.
func (w *world) up() {
	if w.server.URL == "" {
		w.start(w.server, w.tree())
		w.put(node(nil))
	}
}

// TestInitSaysEverything writes down all of init on an empty host: the order of
// the work, and every change in the words people read.
func TestInitSaysEverything(t *testing.T) {
	w := newWorld(t, withToken+"certificateKey: "+certificateKey)
	w.cfg.UploadCerts = true
	o := w.options()
	o.Preflight, o.Service, o.Components = ready, &fakeService{}, nothing
	steps, err := Init(o)
	if err != nil {
		t.Fatal(err)
	}
	got, err := trace(t.Context(), Runner{DryRun: true}, steps...)
	if err != nil {
		t.Fatal(err)
	}
	got = regexp.MustCompile(`(?m)^\S+ (started|done)\n`).ReplaceAllString(got, "")
	golden(t, "testdata/init.txt", w.mask(got))
}

func TestInitConverges(t *testing.T) {
	w, service := newWorld(t, withToken), &fakeService{}
	first := w.run(w.initSteps(service)...)
	if again := w.run(w.initSteps(service)...); len(again) > 0 {
		t.Errorf("again: %q", again)
	}
	if service.starts != 1 {
		t.Errorf("started the loop %d times", service.starts)
	}
	for _, file := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
		path := filepath.Join(w.cfg.Kubelet.StaticPodPath, file+".yaml")
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", path, err)
		}
		if !slices.Contains(first, "write "+path) {
			t.Errorf("%s is not among %q", path, first)
		}
	}
}

// Killed at any moment, the same command again makes the same cluster.
func TestInitKilledAnywhere(t *testing.T) {
	made := newWorld(t, withToken)
	total := len(made.run(made.initSteps(&fakeService{})...))
	for n := 0; n < total; n += 3 {
		w, service := newWorld(t, withToken), &fakeService{}
		w.killAfter(n, w.initSteps(service)...)
		before := w.authorities()
		if changes := w.run(w.initSteps(service)...); len(changes) != total-n {
			t.Errorf("after %d changes made %d of %d", n, len(changes), total)
		}
		if again := w.run(w.initSteps(service)...); len(again) > 0 {
			t.Errorf("after %d changes, again: %q", n, again)
		}
		after := w.authorities()
		for path, content := range before {
			if after[path] != content {
				t.Errorf("after %d changes %s was replaced", n, path)
			}
		}
	}
}

// authorities reads what there is of the CAs and of the service account keys.
func (w *world) authorities() map[string]string {
	tree, content := w.tree(), map[string]string{}
	for _, pair := range []certs.Pair{tree.CA, tree.EtcdCA, tree.FrontProxyCA, tree.SA} {
		for _, path := range []string{pair.Key, pair.Cert} {
			if data, err := os.ReadFile(path); err == nil {
				content[path] = string(data)
			}
		}
	}
	return content
}

// A new address is a change like any other: what names it is made anew, and
// exactly the pods that read it are restarted.
func TestInitOnANewAddress(t *testing.T) {
	w, service := newWorld(t, withToken), &fakeService{}
	w.run(w.initSteps(service)...)
	w.cfg.Init.LocalAPIEndpoint.AdvertiseAddress = "127.0.0.2"
	steps, err := Only(w.initSteps(service), "control-plane")
	if err != nil {
		t.Fatal(err)
	}
	if changes := w.run(steps...); len(changes) != 1 || !strings.HasSuffix(changes[0], "kube-apiserver.yaml") {
		t.Errorf("changed %q", changes)
	}
}

// A certificate that is renewed restarts the pods that would not notice and no others.
func TestRenewedCertificatesRestartTheirPods(t *testing.T) {
	w, service := newWorld(t, withToken), &fakeService{}
	w.run(w.initSteps(service)...)
	for _, path := range []string{w.tree().EtcdPeer.Cert, w.tree().SA.Cert, w.tree().SA.Key} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	var written []string
	for _, change := range w.run(w.initSteps(service)...) {
		written = append(written, filepath.Base(change))
	}
	want := []string{"peer.crt", "sa.key", "sa.pub", "kube-apiserver.yaml", "kube-controller-manager.yaml"}
	if diff := cmp.Diff(want, written); diff != "" {
		t.Error(diff)
	}
}

// The steps are there to be listed and skipped whether or not the configuration
// has a use for them.
func TestPhasesHaveTheSameNamesForEveryConfiguration(t *testing.T) {
	w := newWorld(t, `
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
proxy: {disabled: true}
dns: {disabled: true}
etcd: {external: {endpoints: ["https://192.0.2.1:2379"], caFile: /ca, certFile: /cert, keyFile: /key}}
`)
	if diff := cmp.Diff(InitPhases(), List(w.initSteps(&fakeService{}))); diff != "" {
		t.Error(diff)
	}
	got := strings.Join(w.run(w.initSteps(&fakeService{})...), "\n")
	for _, unwanted := range []string{"etcd", "kube-proxy", "coredns", "kubeadm-certs"} {
		if strings.Contains(got, unwanted) {
			t.Errorf("does something about %s:\n%s", unwanted, got)
		}
	}
}

func TestListOfPhases(t *testing.T) {
	var b strings.Builder
	for _, e := range InitPhases() {
		fmt.Fprintf(&b, "%-34s %s\n", e.Name, e.Desc)
	}
	golden(t, "testdata/phases.txt", b.String())
}
