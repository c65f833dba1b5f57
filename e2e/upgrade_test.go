package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// busy has an upgrade begin although a control plane or a member of etcd does not
// answer at once: the machine of the tests may be slow.
const busy = "--ignore-preflight-errors=ControlPlaneNodesReady,EtcdHealth"

// oldBoot is where the boot that is to be replaced is installed on a node.
const oldBoot = "/usr/local/bin/boot"

// An upgrade is a cluster of the minor version before, with a pod on its worker
// that must not notice anything.
type upgrade struct {
	*fleet
	head, second, worker *lab.Node
	client               *witness
	container            lab.Container // of the pod
	certificates         [2]string     // digests of those of the control planes, before
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
		{"an image that is nowhere", u.noImage},
		{"an etcd that does not come up", u.noEtcd},
		{"killed, then a component that does not come up", u.returns},
		{"the first control plane", u.apply},
		{"a worker waits for its turn", u.workerWaits},
		{"a single phase", u.single},
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
	u.certificates = [2]string{digests(t, u.head), digests(t, u.second)}
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
	u.create(t, p)
	client := u.fleet.client.CoreV1().Pods("default")
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

// create makes a pod. Its account may not be there yet.
func (f *fleet) create(t testing.TB, p *corev1.Pod) {
	t.Helper()
	created(t, "pod "+p.Name, func(ctx context.Context) error {
		_, err := f.client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		return err
	})
}

// created makes something that nobody else makes: if it is there already, the answer
// was lost. Of two members of etcd, there may be no leader for a moment.
func created(t testing.TB, what string, create func(ctx context.Context) error) {
	t.Helper()
	lab.Until(t, patience, "create "+what, func(ctx context.Context) error {
		if err := create(ctx); !apierrors.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

func (u *upgrade) bystander(t *testing.T) lab.Container {
	t.Helper()
	c, ok := containers(t, u.worker)["default/bystander/bystander"]
	if !ok {
		t.Fatal("the pod does not run")
	}
	return c
}

// edit changes what the cluster stores of its configuration.
func (u *upgrade) edit(t *testing.T, from, to string) {
	t.Helper()
	client := u.fleet.client.CoreV1().ConfigMaps("kube-system")
	want := ""
	lab.Until(t, patience, "edit kubeadm-config", func(ctx context.Context) error {
		c, err := client.Get(ctx, "kubeadm-config", metav1.GetOptions{})
		if err != nil {
			return err
		}
		before := c.Data["ClusterConfiguration"]
		if want == "" {
			want = strings.Replace(before, from, to, 1)
			if want == before {
				t.Fatalf("no %q in %s", from, before)
			}
		}
		if before == want {
			return nil // an edit whose answer was lost
		}
		c.Data["ClusterConfiguration"] = want
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
	lab.Until(t, patience, "see a plan that nothing speaks against", func(ctx context.Context) error { // a node or a member of etcd may be late
		out, err := u.head.Try(ctx, lab.BootBinary(t), "upgrade", "plan", "-o", "json")
		if err == nil {
			plan.Changes, plan.Problems = nil, nil
			err = json.Unmarshal([]byte(out.Stdout), &plan)
		}
		if err == nil && (out.Code != 0 || len(plan.Problems) > 0) {
			err = fmt.Errorf("exit code %d, %+v", out.Code, plan.Problems)
		}
		return err
	})
	if plan.Cluster != oldKubernetes || plan.Target != newKubernetes {
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
	wantSaid(t, u.head.Boot(t, "upgrade", "plan", busy), "The cluster is at "+oldKubernetes, "boot upgrade apply "+newKubernetes)
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

func (u *upgrade) apply(t *testing.T) {
	end := lastEvent(t, u.head.Boot(t, "upgrade", "apply", newKubernetes, "--yes", busy, "-o", "json"))
	if end.Type != "result" || end.State != "done" || end.Node != u.head.Name || end.Version != newKubernetes {
		t.Errorf("it ended with %+v", end)
	}
	u.await(t, u.head, newKubernetes, newEtcd)
	u.await(t, u.second, oldKubernetes, oldEtcd)
	u.renewed(t)
	stored := u.head.Kubectl(t, "get", "configmap", "-n", "kube-system", "kubeadm-config", "-o", "yaml")
	wantSaid(t, stored, "kubernetesVersion: "+newKubernetes)
	u.installed(t, u.head)
}

// digests are those of a certificate of each component that an upgrade replaces, by
// lines.
func digests(t *testing.T, n *lab.Node) string {
	t.Helper()
	const dir = "/etc/kubernetes/"
	return n.Run(t, "sha256sum", dir+"pki/etcd/server.crt", dir+"pki/apiserver.crt", dir+"controller-manager.conf", dir+"scheduler.conf", dir+"admin.conf")
}

// renewed checks that the first control plane has got new certificates with its
// components, once for all runs that it took.
func (u *upgrade) renewed(t *testing.T) {
	t.Helper()
	now := digests(t, u.head)
	for line := range strings.Lines(u.certificates[0]) {
		if strings.Contains(now, line) {
			t.Errorf("it was not renewed: %s", line)
		}
	}
}

// installed checks that the loop runs from the boot that is tested, where the other
// one was.
func (u *upgrade) installed(t *testing.T, n *lab.Node) {
	t.Helper()
	n.Run(t, "cmp", lab.BootBinary(t), oldBoot)
	lab.Until(t, patience, "see the loop run from "+oldBoot, func(ctx context.Context) error {
		loops := n.Find(t, "boot", oldBoot+" kubelet")
		if len(loops) == 0 {
			return errNotRunning
		}
		for _, p := range loops {
			out, err := n.Try(ctx, "readlink", fmt.Sprintf("/proc/%d/exe", p.PID)) // it may just have ended
			if exe := strings.TrimSpace(out.Stdout); err == nil && exe != oldBoot {
				err = fmt.Errorf("it runs from %q", exe)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if n.Exists(t, "/var/lib/boot/upgrade.json") {
		t.Error("it left a note")
	}
}

func (u *upgrade) workerWaits(t *testing.T) {
	wantSaid(t, try(t, u.worker, 2, "upgrade", "node"), "newer than kube-apiserver at "+u.second.IP.String())
}

// An upgradeEvent is what is told to scripts.
type upgradeEvent struct{ Type, Phase, State, Text, Node, Version, Error string }

// lastEvent reads events and returns the last.
func lastEvent(t *testing.T, told string) (last upgradeEvent) {
	t.Helper()
	for line := range strings.Lines(told) {
		last = upgradeEvent{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
	}
	return last
}

// single replaces etcd alone, and leaves nothing that would have the next run go on
// with it.
func (u *upgrade) single(t *testing.T) {
	told := u.second.Boot(t, "upgrade", "node", "phase", "control-plane/etcd", "--certificate-renewal=false", "-o", "json")
	if end := lastEvent(t, told); end.State != "done" || strings.Contains(told, "kube-apiserver.yaml") {
		t.Errorf("it told:\n%s", told)
	}
	for component, tag := range map[string]string{"etcd": newEtcd, "kube-apiserver": oldKubernetes} {
		if manifest := u.second.ReadFile(t, "/etc/kubernetes/manifests/"+component+".yaml"); !strings.Contains(manifest, "/"+component+":"+tag+"\n") {
			t.Errorf("%s is not at %s:\n%s", component, tag, manifest)
		}
	}
	if u.second.Exists(t, "/var/lib/boot/upgrade.json") {
		t.Error("it left a note")
	}
}

func (u *upgrade) control(t *testing.T) {
	args := []string{"upgrade", "node", "--certificate-renewal=false", busy}
	cut(t, u.second, syscall.SIGKILL, args, "[control-plane/apiserver] wait for")
	cut(t, u.second, syscall.SIGKILL, args, "[kubelet-config] restart")
	u.second.Boot(t, args...)
	u.await(t, u.second, newKubernetes, newEtcd)
	if digests(t, u.second) != u.certificates[1] {
		t.Error("certificates were renewed that were not to be")
	}
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
		{u.head, []string{"upgrade", "apply", newKubernetes, "--yes", busy}}, {u.second, []string{"upgrade", "node", busy}}, {u.worker, []string{"upgrade", "node"}},
	} {
		for line := range strings.Lines(try(t, c.node, 0, c.args...)) {
			if strings.HasPrefix(line, "[") {
				t.Errorf("%s: %s", c.node.Name, line)
			}
		}
	}
}
