package phases

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/discovery"
)

// A joiningWorld is a host that joins, as node-1, the cluster that another world
// has the authority of.
type joiningWorld struct {
	*world
	service *signedLoop
	options JoinOptions
}

// A signedLoop gets the node its certificate when it starts with a token.
type signedLoop struct {
	fakeService
	bootstrap, kubeconfig string
	signed                string // the kubeconfig that it gets; empty if the cluster signs nothing
}

func (l *signedLoop) Start(ctx context.Context) error {
	if _, err := os.Stat(l.bootstrap); err == nil && l.signed != "" {
		data, err := os.ReadFile(l.signed)
		if err != nil {
			return err
		}
		if err := os.WriteFile(l.kubeconfig, data, 0o600); err != nil {
			return err
		}
	}
	return l.fakeService.Start(ctx)
}

func newJoining(t *testing.T) *joiningWorld {
	t.Helper()
	cluster, w := newWorld(t, withToken), newWorld(t, withToken)
	cluster.makeCerts()
	ca, err := os.ReadFile(cluster.tree().CA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Init.Timeouts.TLSBootstrap = &metav1.Duration{Duration: 300 * time.Millisecond}
	loop := &signedLoop{
		bootstrap: bootstrapKubeconfig(w.dirs), kubeconfig: certs.KubeconfigTree(w.dirs.Kubernetes).Kubelet,
		signed: certs.KubeconfigTree(cluster.dirs.Kubernetes).Kubelet,
	}
	return &joiningWorld{w, loop, JoinOptions{
		Config: w.cfg, Cluster: &discovery.Cluster{Server: "https://192.0.2.1:6443", CA: ca}, CACertPath: w.tree().CA.Cert,
		Dirs: w.dirs, Service: loop, Components: nothing,
	}}
}

func (j *joiningWorld) steps() []Step {
	j.t.Helper()
	steps, err := Join(j.options)
	if err != nil {
		j.t.Fatal(err)
	}
	return steps
}

// TestJoinSaysEverything writes down all of a worker's join on an empty host.
func TestJoinSaysEverything(t *testing.T) {
	j := newJoining(t)
	got, err := trace(t.Context(), Runner{DryRun: true}, j.steps()...)
	if err != nil {
		t.Fatal(err)
	}
	got = regexp.MustCompile(`(?m)^\S+ (started|done)\n`).ReplaceAllString(got, "")
	golden(t, "testdata/join.txt", j.mask(got))
}

func TestJoinConverges(t *testing.T) {
	j := newJoining(t)
	j.run(j.steps()...)
	if again := j.run(j.steps()...); len(again) > 0 {
		t.Errorf("again: %q", again)
	}
	if j.service.starts != 1 {
		t.Errorf("started the loop %d times", j.service.starts)
	}
	if _, err := os.Stat(j.service.bootstrap); !os.IsNotExist(err) {
		t.Errorf("the token is still on the disk: %v", err)
	}
}

// Killed at any moment, the same command again finishes the job.
func TestJoinKilledAnywhere(t *testing.T) {
	made := newJoining(t)
	total := len(made.run(made.steps()...))
	for n := range total {
		j := newJoining(t)
		j.killAfter(n, j.steps()...)
		j.run(j.steps()...)
		if again := j.run(j.steps()...); len(again) > 0 {
			t.Errorf("after %d changes, again: %q", n, again)
		}
		if _, err := os.Stat(j.service.bootstrap); !os.IsNotExist(err) {
			t.Errorf("after %d changes, the token is still on the disk: %v", n, err)
		}
	}
}

// What carries the token is for root alone, and names where the node reaches the
// API.
func TestJoinWritesToken(t *testing.T) {
	j := newJoining(t)
	j.service.signed = ""
	_, err := runSteps(t.Context(), Runner{}, j.steps()...)
	wantError(t, err, "the cluster has not signed it", "kubectl get certificatesigningrequests")
	fi, err := os.Stat(j.service.bootstrap)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", fi, err)
	}
	server := func() string {
		data, err := os.ReadFile(j.service.bootstrap)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(data), "server: ")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	if want := config.LocalAPI(j.cfg.Init.LocalAPIEndpoint.AdvertiseAddress); server() != want {
		t.Errorf("server is %s, want %s", server(), want)
	}
	loop, err := config.LoadKubelet(config.LoopOptions{Path: filepath.Join(j.dirs.Kubelet, "config.yaml")})
	if err != nil || !slices.Equal(loop.Boot.APIServers, []string{"192.0.2.1:6443"}) {
		t.Errorf("the loop knows %q: %v", loop.Boot.APIServers, err)
	}
	j.cfg.Cluster.ControlPlaneEndpoint = "api.example.org:443"
	_, err = runSteps(t.Context(), Runner{}, j.steps()...)
	wantError(t, err, "the cluster has not signed it", "")
	if server() != "https://api.example.org:443" {
		t.Errorf("server is %s", server())
	}
}

// A join that was killed while it wrote the token leaves no copy of it either.
func TestJoinRemovesTornToken(t *testing.T) {
	j := newJoining(t)
	j.run(j.steps()...)
	torn := filepath.Join(filepath.Dir(j.service.bootstrap), "."+filepath.Base(j.service.bootstrap)+".tmp123")
	if err := os.WriteFile(torn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if changes := j.run(j.steps()...); len(changes) != 1 || changes[0] != "remove "+torn {
		t.Errorf("changes %q", changes)
	}
}

func TestJoinWithoutLoop(t *testing.T) {
	j := newJoining(t)
	wait := joinWait{joinAccess{cluster: j.options.Cluster, node: "node-1", kubeconfig: j.service.kubeconfig, bootstrap: j.service.bootstrap}, 100 * time.Millisecond, j.service}
	_, err := runSteps(t.Context(), Runner{}, Step{Name: "wait", Phase: wait})
	wantError(t, err, "the kubelet loop, which asks for it, does not run", "kubectl")
}

func TestJoinNodeOfAnotherCluster(t *testing.T) {
	j, other := newJoining(t), newWorld(t, withToken)
	other.makeCerts()
	data, err := os.ReadFile(certs.KubeconfigTree(other.dirs.Kubernetes).Kubelet)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(j.service.kubeconfig), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(j.service.kubeconfig, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = runSteps(t.Context(), Runner{}, j.steps()...)
	if !errors.Is(err, discovery.ErrMember) {
		t.Errorf("error %v", err)
	}
}

// Whatever a configuration leaves out can be named all the same.
func TestJoinPhasesAreKubeadms(t *testing.T) {
	names := map[string]bool{}
	for _, e := range JoinPhases() {
		names[e.Name] = true
	}
	for _, want := range []string{
		"preflight", "control-plane-prepare", "control-plane-prepare/download-certs", "control-plane-prepare/certs",
		"control-plane-prepare/kubeconfig", "control-plane-prepare/control-plane", "kubelet-start", "etcd-join",
		"kubelet-wait-bootstrap", "control-plane-join", "control-plane-join/mark-control-plane", "wait-control-plane",
	} {
		if !names[want] {
			t.Errorf("there is no phase %s", want)
		}
	}
	if _, err := JoinSkipping([]string{"no-such-phase"}); err == nil {
		t.Error("any name will do")
	}
}
