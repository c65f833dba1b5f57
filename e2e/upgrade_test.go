package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// The versions between which nodes are upgraded, and the tag of the older etcd.
const (
	oldKubernetes = "v1.36.3"
	newKubernetes = "v1.37.2"
	oldEtcd       = "3.6.8-0"
	newEtcd       = "3.7.0-0"
)

// oldBoot is where the boot that is to be replaced is installed on a node.
const oldBoot = "/usr/local/bin/boot"

// An upgrade is a cluster of the minor version before, with a pod on its worker
// that must not notice anything.
type upgrade struct {
	*fleet
	head, second, worker *lab.Node
	client               *witness
	container            lab.Container // of the pod
}

// TestUpgrade moves a cluster to the next minor version, with all that can go wrong
// on the way. Its steps are one story: each begins where the one before ended.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	for _, step := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"the plan", u.plan},
		{"the diff", u.diff},
		{"what is refused", u.refused},
		{"a dry run", u.dryRun},
		{"killed, then a component that does not come up", u.returns},
		{"the first control plane", u.apply},
		{"a worker waits for its turn", u.workerWaits},
		{"the other control plane, killed in between", u.control},
		{"the worker", u.workerUpgraded},
		{"once more", u.again},
	} {
		if !t.Run(step.name, step.do) {
			break
		}
	}
	u.client.check(t)
}

func newUpgrade(t *testing.T) *upgrade {
	f := emptyFleet(t, 2, 1)
	f.cluster.Boot = oldBoot
	f.cluster.Settings = "kubernetesVersion: " + oldKubernetes + "\netcd: {local: {dataDir: /var/lib/etcd, imageTag: " + oldEtcd + "}}\n"
	for _, n := range f.nodes() {
		installOld(t, n)
	}
	f.make(t)
	f.awaitNodes(t, f.nodes()...)
	u := &upgrade{fleet: f, head: f.heads[0], second: f.heads[1], worker: f.workers[0]}
	u.await(t, u.head, oldKubernetes, oldEtcd)
	u.await(t, u.second, oldKubernetes, oldEtcd)
	// As with a cluster of that version's own kubeadm, nobody has asked for the tag.
	u.edit(t, "    imageTag: "+oldEtcd+"\n", "")
	u.start(t)
	return u
}

// installOld gives a node the components of the version before, and a boot that is
// another file than the one that is tested.
func installOld(t *testing.T, n *lab.Node) {
	t.Helper()
	for _, name := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"} {
		from := lab.Previous(t, "images/"+name+".tar")
		lab.Must(t, n.Do(func() error { return os.Symlink(from, "/var/lib/boot/images/previous-"+name+".tar") }))
	}
	n.Run(t, "sh", "-c", "cp "+lab.BootBinary(t)+" "+oldBoot+" && echo >> "+oldBoot)
}

// start starts the pod that must not notice, and somebody who asks it all along.
func (u *upgrade) start(t *testing.T) {
	t.Helper()
	p := boxPod("bystander", "http", "8080")
	p.Spec.NodeName = u.worker.Name
	client := u.fleet.client.CoreV1().Pods("default")
	lab.Until(t, patience, "create a pod", func(ctx context.Context) error {
		_, err := client.Create(ctx, p, metav1.CreateOptions{}) // its account may not be there yet
		return err
	})
	ip := ""
	lab.Until(t, patience, "see the pod run", func(ctx context.Context) error {
		got, err := client.Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if ip = got.Status.PodIP; got.Status.Phase != corev1.PodRunning || ip == "" {
			return fmt.Errorf("it is %s", got.Status.Phase)
		}
		return nil
	})
	u.container = u.bystander(t)
	u.client = observe(t, u.worker, "http://"+net.JoinHostPort(ip, "8080")+"/")
}

func (u *upgrade) bystander(t *testing.T) lab.Container {
	t.Helper()
	c, ok := containers(t, u.worker)["default/bystander/bystander"]
	if !ok {
		t.Fatal("the pod does not run")
	}
	return c
}

// A witness asks a pod all the time.
type witness struct {
	mu     sync.Mutex
	asked  int
	failed []error
}

func observe(t *testing.T, n *lab.Node, url string) *witness {
	t.Helper()
	w := &witness{}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: n.Dial, DisableKeepAlives: true}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			w.ask(ctx, client, url)
			select {
			case <-tick.C:
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	return w
}

func (w *witness) ask(ctx context.Context, client *http.Client, url string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err == nil {
		var answer *http.Response
		if answer, err = client.Do(r); err == nil {
			_, err = io.Copy(io.Discard, answer.Body)
			err = errors.Join(err, answer.Body.Close())
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if err != nil && ctx.Err() == nil {
		w.failed = append(w.failed, err)
	}
}

// check fails if the pod has not answered all along.
func (w *witness) check(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) > 0 || w.asked < 10 {
		t.Errorf("the pod was asked %d times, and has not answered %d times: %v", w.asked, len(w.failed), errors.Join(w.failed...))
	}
}

// edit changes what the cluster stores of its configuration.
func (u *upgrade) edit(t *testing.T, from, to string) {
	t.Helper()
	client := u.fleet.client.CoreV1().ConfigMaps("kube-system")
	lab.Until(t, patience, "edit kubeadm-config", func(ctx context.Context) error {
		c, err := client.Get(ctx, "kubeadm-config", metav1.GetOptions{})
		if err != nil {
			return err
		}
		before := c.Data["ClusterConfiguration"]
		if c.Data["ClusterConfiguration"] = strings.Replace(before, from, to, 1); c.Data["ClusterConfiguration"] == before {
			t.Fatalf("no %q in %s", from, before)
		}
		_, err = client.Update(ctx, c, metav1.UpdateOptions{})
		return err
	})
}

// await waits until the mirrors of a control plane are of a version, and Ready.
func (u *upgrade) await(t *testing.T, n *lab.Node, kubernetes, etcd string) {
	t.Helper()
	lab.Until(t, 2*patience, "see "+n.Name+" at "+kubernetes, func(ctx context.Context) error {
		for component, tag := range map[string]string{
			"etcd": etcd, "kube-apiserver": kubernetes, "kube-controller-manager": kubernetes, "kube-scheduler": kubernetes, "kube-proxy": kubernetes,
		} {
			p, err := u.fleet.client.CoreV1().Pods("kube-system").Get(ctx, component+"-"+n.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if image := p.Spec.Containers[0].Image; !strings.HasSuffix(image, ":"+tag) {
				return fmt.Errorf("%s is of %s", p.Name, image)
			}
			if err := ready(ctx, u.fleet.client, p.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// try runs boot, which is to end with a code, and returns what it says.
func try(t *testing.T, n *lab.Node, code int, args ...string) string {
	t.Helper()
	out, err := n.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	if err != nil || out.Code != code {
		t.Fatalf("boot %s: %v, exit code %d and not %d\n%s%s", strings.Join(args, " "), err, out.Code, code, out.Stdout, out.Stderr)
	}
	return out.Stdout + out.Stderr
}

func wantSaid(t *testing.T, said string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
}

func (u *upgrade) plan(t *testing.T) {
	var plan struct {
		Cluster, Target string
		Changes         []struct{ Node, Component, From, To string }
		Problems        []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(u.head.Boot(t, "upgrade", "plan", "-o", "json")), &plan); err != nil {
		t.Fatal(err)
	}
	if plan.Cluster != oldKubernetes || plan.Target != newKubernetes || len(plan.Problems) > 0 {
		t.Errorf("%+v", plan)
	}
	changes := map[string]string{}
	for _, c := range plan.Changes {
		changes[c.Node+" "+c.Component] = c.From + " " + c.To
	}
	for what, want := range map[string]string{
		"cp1 etcd": oldEtcd + " " + newEtcd, "cp2 kube-apiserver": oldKubernetes + " " + newKubernetes, "w1 kube-proxy": oldKubernetes + " " + newKubernetes,
	} {
		if changes[what] != want {
			t.Errorf("%s: %q, want %q: %+v", what, changes[what], want, plan.Changes)
		}
	}
	wantSaid(t, u.head.Boot(t, "upgrade", "plan"), "The cluster is at "+oldKubernetes, "boot upgrade apply "+newKubernetes)
}

func (u *upgrade) diff(t *testing.T) {
	said := u.head.Boot(t, "upgrade", "diff", newKubernetes)
	wantSaid(t, said, "--- /etc/kubernetes/manifests/kube-apiserver.yaml",
		"-    image: registry.k8s.io/kube-apiserver:"+oldKubernetes, "+    image: registry.k8s.io/kube-apiserver:"+newKubernetes,
		"+    image: registry.k8s.io/etcd:"+newEtcd)
	for line := range strings.Lines(said) {
		// A second member stays one.
		if strings.Contains(line, "initial-cluster") && strings.ContainsAny(line[:1], "+-") {
			t.Errorf("it changes %s", line)
		}
	}
}

func (u *upgrade) refused(t *testing.T) {
	before := u.head.Run(t, "sha256sum", "/etc/kubernetes/manifests/kube-apiserver.yaml")
	for _, c := range []struct {
		node *lab.Node
		args []string
		code int
		want string
	}{
		{u.head, []string{"apply", "v1.35.5", "--yes"}, 2, "there is no way back to v1.35.5"},
		{u.head, []string{"apply", "v1.38.0", "--yes"}, 2, "would skip a minor version: go to v1.37 first"},
		{u.head, []string{"apply", "--yes"}, 3, "which version?"},
		{u.head, []string{"apply", newKubernetes}, 3, "run it with --yes"},
		{u.worker, []string{"apply", newKubernetes, "--yes"}, 3, "this node is no control plane"},
		{u.worker, []string{"node"}, 2, "newer than kube-apiserver"},
	} {
		wantSaid(t, try(t, c.node, c.code, append([]string{"upgrade"}, c.args...)...), c.want)
	}
	if after := u.head.Run(t, "sha256sum", "/etc/kubernetes/manifests/kube-apiserver.yaml"); after != before {
		t.Error("a manifest has changed")
	}
}

func (u *upgrade) dryRun(t *testing.T) {
	said := try(t, u.head, 0, "upgrade", "apply", newKubernetes, "--dry-run")
	wantSaid(t, said, "[etcd-snapshot] would save a snapshot of etcd", "[control-plane/etcd] would rewrite", "[kubelet-config] would install boot",
		"[upload-config/kubeadm] would update ConfigMap kube-system/kubeadm-config")
	if u.head.Exists(t, "/var/lib/boot/upgrade.json") {
		t.Error("it left a note")
	}
}

// returns has the upgrade killed while its API server is being replaced, and then
// meet a scheduler that refuses its flags: that is as it was before.
func (u *upgrade) returns(t *testing.T) {
	const good, bad = "scheduler: {}", `scheduler: {extraArgs: [{name: no-such-flag, value: "1"}]}`
	u.edit(t, good, bad)
	cut(t, u.head, syscall.SIGKILL, []string{"upgrade", "apply", newKubernetes, "--yes"}, "[control-plane/apiserver] wait for")
	said := try(t, u.head, 1, "upgrade", "apply", newKubernetes, "--yes")
	wantSaid(t, said, "kube-scheduler ended 3 times", "unknown flag: --no-such-flag", "kube-scheduler runs with its old manifest again")
	manifest := u.head.ReadFile(t, "/etc/kubernetes/manifests/kube-scheduler.yaml")
	if !strings.Contains(manifest, "kube-scheduler:"+oldKubernetes) {
		t.Errorf("the manifest is another one:\n%s", manifest)
	}
	if snapshots := u.head.Run(t, "ls", "/var/lib/boot/snapshots"); strings.Count(snapshots, ".db") != 1 {
		t.Errorf("there are other snapshots than the one before the upgrade: %s", snapshots)
	}
	if said := u.head.Kubectl(t, "version"); !strings.Contains(said, "Server Version: "+newKubernetes) {
		t.Errorf("kubectl version: %s", said)
	}
	u.edit(t, bad, good)
}

func (u *upgrade) apply(t *testing.T) {
	u.head.Boot(t, "upgrade", "apply", newKubernetes, "--yes")
	u.await(t, u.head, newKubernetes, newEtcd)
	u.await(t, u.second, oldKubernetes, oldEtcd)
	stored := u.head.Kubectl(t, "get", "configmap", "-n", "kube-system", "kubeadm-config", "-o", "yaml")
	wantSaid(t, stored, "kubernetesVersion: "+newKubernetes)
	u.installed(t, u.head)
}

// installed checks that the loop runs from the boot that is tested, where the other
// one was.
func (u *upgrade) installed(t *testing.T, n *lab.Node) {
	t.Helper()
	n.Run(t, "cmp", lab.BootBinary(t), oldBoot)
	loops := n.Find(t, "boot", oldBoot+" kubelet")
	if len(loops) == 0 {
		t.Error("no loop runs from " + oldBoot)
	}
	for _, p := range loops {
		if exe := strings.TrimSpace(n.Run(t, "readlink", fmt.Sprintf("/proc/%d/exe", p.PID))); exe != oldBoot {
			t.Errorf("the loop runs from %s", exe)
		}
	}
	if n.Exists(t, "/var/lib/boot/upgrade.json") {
		t.Error("it left a note")
	}
}

func (u *upgrade) workerWaits(t *testing.T) {
	wantSaid(t, try(t, u.worker, 2, "upgrade", "node"), "newer than kube-apiserver at "+u.second.IP.String())
}

func (u *upgrade) control(t *testing.T) {
	cut(t, u.second, syscall.SIGKILL, []string{"upgrade", "node"}, "[control-plane/etcd] wait for")
	cut(t, u.second, syscall.SIGKILL, []string{"upgrade", "node"}, "[kubelet-config] restart")
	u.second.Boot(t, "upgrade", "node")
	u.await(t, u.second, newKubernetes, newEtcd)
	u.installed(t, u.second)
}

func (u *upgrade) workerUpgraded(t *testing.T) {
	u.worker.Boot(t, "upgrade", "node")
	u.installed(t, u.worker)
	u.awaitNodes(t, u.worker)
	if now := u.bystander(t); now.ID != u.container.ID {
		t.Errorf("container %s is now %s", u.container.ID, now.ID)
	}
}

// again finds nothing to do, anywhere.
func (u *upgrade) again(t *testing.T) {
	for _, c := range []struct {
		node *lab.Node
		args []string
	}{
		{u.head, []string{"upgrade", "apply", newKubernetes, "--yes"}}, {u.second, []string{"upgrade", "node"}}, {u.worker, []string{"upgrade", "node"}},
	} {
		for line := range strings.Lines(try(t, c.node, 0, c.args...)) {
			if strings.HasPrefix(line, "[") {
				t.Errorf("%s: %s", c.node.Name, line)
			}
		}
	}
}
