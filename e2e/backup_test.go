package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/e2e/internal/lab"
)

// What was saved comes back: into the cluster it is of, and on another machine.
func TestBackup(t *testing.T) {
	t.Parallel()
	b := &backupTest{lan: lab.NewLAN(t)}
	b.node, b.spare = furnished(t, b.lan, "node1"), furnished(t, b.lan, "spare")
	b.node.WriteFile(t, "/root/init.yaml", backupConfig)
	b.node.Boot(t, "init", "--config", "/root/init.yaml")
	waitReady(t, b.node)
	b.client = b.node.Client(t, adminConf)
	b.node.Kubectl(t, "create", "deployment", "steady", "--image", testImage, "--", "/testbox", "sleep", "infinity")
	b.awaitSteady(t, b.node)
	awaitCoreDNS(t, b.client) // nothing comes up any more while it is looked at what runs

	t.Run("etcd status and defrag", b.status)
	t.Run("snapshots are saved and listed", b.save)
	t.Run("a full disk", b.fullDisk)
	t.Run("what is broken is refused", b.broken)
	t.Run("a schedule", b.schedule)
	t.Run("back to a snapshot", b.restore)
	t.Run("on another machine", b.elsewhere)
	t.Run("in place of another node, under another name", b.renamed)
}

const backupConfig = `
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {taints: []}
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
---
apiVersion: boot.internal/v1
kind: BootConfiguration
snapshots: {every: 15s, keep: 2}
`

// A backupTest is a cluster of one node whose data is saved.
type backupTest struct {
	lan    *lab.LAN
	node   *lab.Node
	client *kubernetes.Clientset

	snapshot string    // path on the node
	spare    *lab.Node // a machine that is no node at first
}

// archive is where a backup is on each node.
const archive = "/root/backup.tar.zst"

// awaitSteady waits for the workload that is to survive everything.
func (b *backupTest) awaitSteady(t *testing.T, n *lab.Node) {
	t.Helper()
	client := n.Client(t, adminConf)
	lab.Until(t, 2*patience, "see the workload run", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("default").Get(ctx, "steady", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 1 {
			err = fmt.Errorf("%+v", d.Status)
		}
		return err
	})
}

// status shows figures, and monitoring gets an exit code.
func (b *backupTest) status(t *testing.T) {
	var members []struct {
		Name, Role, Version string
		Healthy             bool
		RaftIndex           uint64
		DBSizeInUse         int64
	}
	status := func(args ...string) (said string) {
		lab.Until(t, patience, "see etcd well", func(context.Context) error { // it has five seconds to answer
			out := b.try(t, append([]string{"etcd", "status"}, args...)...)
			if said = out.Stdout; out.Code != 0 {
				return errors.New(out.Stderr)
			}
			return nil
		})
		return said
	}
	if err := json.Unmarshal([]byte(status("-o", "json")), &members); err != nil {
		t.Fatal(err)
	}
	if len(members) != 1 || members[0].Role != "leader" || !members[0].Healthy || members[0].RaftIndex == 0 || members[0].DBSizeInUse == 0 {
		t.Errorf("members: %+v", members)
	}
	if said := status(); !strings.Contains(said, "https://"+b.node.IP.String()+":2379") {
		t.Errorf("the table says %s", said)
	}
	for _, names := range [][]string{{"etcd", "remove"}, {"restore", "--replace"}} { // which TAB completes
		if said := b.node.Boot(t, append(append([]string{"__complete"}, names...), "")...); !strings.HasPrefix(said, "node1\n") {
			t.Errorf("%q is completed by %s", names, said)
		}
	}
	b.node.Boot(t, "etcd", "defrag")
	status("--endpoints", "https://10.77.0.99:2379") // one endpoint that is dead is no reason to fail
}

// try runs boot, which may fail.
func (b *backupTest) try(t *testing.T, args ...string) lab.Output {
	t.Helper()
	out, err := b.node.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type listed struct {
	Path, SHA256, Error string
	Revision            int64
	Intact              bool
}

func (b *backupTest) list(t *testing.T) []listed {
	t.Helper()
	var all []listed
	if err := json.Unmarshal([]byte(b.try(t, "etcd", "snapshot", "list", "-o", "json").Stdout), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func (b *backupTest) save(t *testing.T) {
	b.configMap(t, "before")
	said := b.node.Boot(t, "etcd", "snapshot", "save")
	all := b.list(t)
	i := slices.IndexFunc(all, func(s listed) bool { return strings.Contains(said, s.Path) })
	if i < 0 || !all[i].Intact || all[i].Revision == 0 {
		t.Fatalf("saved %q, listed %+v", said, all)
	}
	b.snapshot = all[i].Path
	if mode := b.node.Run(t, "stat", "-c", "%a %a", b.snapshot); !strings.HasPrefix(mode, "600") {
		t.Errorf("mode %s", mode)
	}
	b.node.Run(t, "sh", "-c", lab.BootBinary(t)+" etcd snapshot save - >/root/piped.db && "+lab.BootBinary(t)+" etcd snapshot status /root/piped.db")
}

// configMap makes an object to look for later.
func (b *backupTest) configMap(t *testing.T, name string) {
	t.Helper()
	b.node.Kubectl(t, "create", "configmap", name)
}

// has says whether the cluster of a node has an object.
func (b *backupTest) has(t *testing.T, n *lab.Node, name string) bool {
	t.Helper()
	_, err := n.Client(t, adminConf).CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// fullDisk leaves nothing of what does not fit.
func (b *backupTest) fullDisk(t *testing.T) {
	b.node.Run(t, "sh", "-c", "mkdir -p /root/small && mount -t tmpfs -o size=16k none /root/small")
	for _, args := range [][]string{{"etcd", "snapshot", "save", "/root/small/a.db"}, {"backup", "/root/small/a.tar.zst"}} {
		out := b.try(t, args...)
		if out.Code == 0 || !strings.Contains(out.Stderr, "no space left on device") || !strings.Contains(out.Stderr, "hint: ") {
			t.Errorf("%q: %+v", args, out)
		}
		if left := b.node.Run(t, "ls", "-A", "/root/small"); left != "" {
			t.Errorf("%q leaves %s", args, left)
		}
	}
	b.node.Run(t, "umount", "/root/small")
}

// broken snapshots change nothing.
func (b *backupTest) broken(t *testing.T) {
	b.node.Run(t, "sh", "-c", "head -c 100000 "+b.snapshot+" >/root/cut.db")
	before := b.running(t)
	for _, args := range [][]string{
		{"etcd", "snapshot", "restore", "--yes", "/root/cut.db"},
		{"etcd", "snapshot", "status", "/root/cut.db"},
	} {
		if out := b.try(t, args...); out.Code == 0 || !strings.Contains(out.Stderr, "cut off or changed") {
			t.Errorf("%q: %+v", args, out)
		}
	}
	if out := b.try(t, "etcd", "snapshot", "restore", b.snapshot); out.Code != 3 || !strings.Contains(out.Stderr, "--yes") {
		t.Errorf("without being asked: %+v", out)
	}
	b.node.Boot(t, "etcd", "snapshot", "restore", "--dry-run", b.snapshot)
	if after := b.running(t); !slices.Equal(before, after) || b.node.Exists(t, "/var/lib/etcd/.restore") {
		t.Errorf("ran %q, runs %q", before, after)
	}
}

// running names the containers that run. Those that hold a lease may lose it, and end
// by themselves: of them, it says how often they were ended.
func (b *backupTest) running(t *testing.T) []string {
	t.Helper()
	var all []string
	leased := []string{"kube-controller-manager", "kube-scheduler"}
	for name, c := range containers(t, b.node) {
		if !slices.Contains(leased, c.Name) {
			all = append(all, name+" "+c.ID)
		}
	}
	log := b.node.ReadFile(t, loopLog)
	for _, name := range leased {
		all = append(all, fmt.Sprint(name, " ", strings.Count(log, "kill "+name+" ")))
	}
	slices.Sort(all)
	return all
}

// restore goes back: what was removed is there again, what was made is gone, and
// what runs throughout has not been disturbed.
func (b *backupTest) restore(t *testing.T) {
	steady := func() string {
		for name, c := range containers(t, b.node) {
			if strings.HasPrefix(name, "default/steady-") {
				return c.ID
			}
		}
		return ""
	}
	before := steady()
	b.configMap(t, "between")
	b.node.Boot(t, "etcd", "snapshot", "restore", "--yes", b.snapshot) // a second time, revisions have to rise again
	b.node.Kubectl(t, "delete", "configmap", "before")
	b.configMap(t, "after")
	back := []string{"etcd", "snapshot", "restore", "--yes", b.snapshot}
	for _, at := range []string{"[restore/data] make", "[restore/stop] stop etcd", "[restore/swap] put", "[restore/start] start kube-apiserver"} {
		cut(t, b.node, syscall.SIGKILL, back, at)
	}
	b.node.Boot(t, back...)
	waitReady(t, b.node)
	if b.has(t, b.node, "between") || b.has(t, b.node, "after") || !b.has(t, b.node, "before") {
		t.Error("the data is not that of the snapshot")
	}
	b.awaitSteady(t, b.node)
	if after := steady(); before == "" || after != before {
		t.Errorf("the workload ran as %s, and now as %s", before, after)
	}
	if b.node.Exists(t, "/var/lib/etcd/.restore") || b.node.Exists(t, "/var/lib/boot/restore/manifests/etcd.yaml") {
		t.Error("the restore has left its notes")
	}
	// Controllers go on from there.
	b.node.Kubectl(t, "scale", "deployment", "steady", "--replicas=2")
	lab.Until(t, patience, "see the workload grow", func(ctx context.Context) error {
		d, err := b.client.AppsV1().Deployments("default").Get(ctx, "steady", metav1.GetOptions{})
		if err == nil && d.Status.AvailableReplicas != 2 {
			err = errors.New(fmt.Sprint(d.Status))
		}
		return err
	})
}

// schedule waits until the loop has taken more than it keeps.
func (b *backupTest) schedule(t *testing.T) {
	scheduled := func() []string {
		var paths []string
		for _, s := range b.list(t) {
			if strings.Contains(s.Path, "/scheduled-") {
				paths = append(paths, s.Path)
			}
			if !s.Intact {
				t.Errorf("%+v", s)
			}
		}
		return paths
	}
	var first string
	lab.Until(t, 2*patience, "see snapshots of the schedule come and go", func(context.Context) error {
		now := scheduled()
		if first == "" && len(now) > 0 {
			first = now[0]
		}
		if len(now) != 2 || slices.Contains(now, first) {
			return fmt.Errorf("%q, the first was %s", now, first)
		}
		return nil
	})
	if !b.node.Exists(t, b.snapshot) {
		t.Error("what somebody asked for is gone")
	}
	lab.Until(t, patience, "be told of it by an event", func(ctx context.Context) error {
		events, err := b.client.CoreV1().Events("").List(ctx, metav1.ListOptions{FieldSelector: "reason=EtcdSnapshotTaken"})
		if err == nil && len(events.Items) == 0 {
			err = errors.New("there is none")
		}
		return err
	})
}

// elsewhere makes the cluster again of an archive, on a machine that knows nothing
// of it and has another address.
func (b *backupTest) elsewhere(t *testing.T) {
	if out := b.try(t, "restore", archive); out.Code == 0 || !strings.Contains(out.Stderr, "already, with data of its own") {
		t.Errorf("onto a host with data: %+v", out)
	}
	b.node.Run(t, "sh", "-c", lab.BootBinary(t)+" backup - >"+archive)
	b.node.Boot(t, "backup", "/root/file.tar.zst")
	before := b.identity(t, b.node)
	spare := b.spare
	spare.WriteFile(t, archive, b.node.ReadFile(t, archive))
	lab.Must(t, b.node.PowerOff())

	spare.Run(t, "sh", "-c", "head -c -100 "+archive+" >/root/cut.tar.zst")
	out, err := spare.Try(t.Context(), lab.BootBinary(t), "restore", "/root/cut.tar.zst")
	if err != nil || out.Code == 0 || !strings.Contains(out.Stderr, "the archive is not whole") {
		t.Errorf("a truncated archive: %v %+v", err, out)
	}
	spare.Boot(t, "restore", "--dry-run", archive)
	for _, path := range []string{"/etc/kubernetes", "/var/lib/etcd", "/var/lib/boot/restore", "/var/lib/boot/journal.json"} {
		if spare.Exists(t, path) {
			t.Errorf("nothing was to change, and there is %s", path)
		}
	}

	for _, at := range []string{"[restore/files] write", "[restore/swap] put", "[control-plane/apiserver] write"} {
		cut(t, spare, syscall.SIGKILL, []string{"restore", archive}, at)
	}
	said := spare.Boot(t, "restore", archive)
	if !strings.Contains(said, `This host is node "node1"`) {
		t.Errorf("it says %s", said)
	}
	if after := b.identity(t, spare); after != before {
		t.Errorf("it was %s, and is %s", before, after)
	}
	if spare.Exists(t, "/var/lib/boot/restore") || spare.Exists(t, "/var/lib/etcd/.restore") {
		t.Error("the restore has left its notes")
	}
	client := spare.Client(t, adminConf)
	lab.Until(t, 2*patience, "see everything run on the new machine", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, "node1", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if at := node.Status.Addresses; len(at) == 0 || at[0].Address != spare.IP.String() {
			return fmt.Errorf("node1 is at %v", at)
		}
		for name := range containers(t, spare) {
			if strings.HasPrefix(name, "default/steady-") {
				return nodeCondition(node, corev1.NodeReady, corev1.ConditionTrue)
			}
		}
		return errors.New("the workload does not run")
	})
	spare.Kubectl(t, "create", "deployment", "later", "--image", testImage, "--", "/testbox", "sleep", "infinity")
	spare.Kubectl(t, "wait", "--for=condition=Available", "--timeout=2m", "deployment/later")
}

// renamed makes another node of the archive, on a machine that is a node already.
func (b *backupTest) renamed(t *testing.T) {
	before := b.identity(t, b.spare)
	anew := []string{"restore", archive, "--node-name", "node7", "--replace"}
	try := func(code int, want string, args ...string) {
		t.Helper()
		out, err := b.spare.Try(t.Context(), append([]string{lab.BootBinary(t)}, args...)...)
		if err != nil || out.Code != code || !strings.Contains(out.Stderr, want) {
			t.Errorf("%q: %v %+v", args, err, out)
		}
	}
	try(3, `this host is node "node1", and not "node2"`, append(anew, "node2")...)
	try(3, "--replace does not go with -", "restore", "-", "--replace", "node1")
	b.spare.Run(t, "cp", archive, "/var/lib/boot/backup.tar.zst")
	try(3, "is where the reset removes files", "restore", "/var/lib/boot/backup.tar.zst", "--replace", "node1")
	try(1, "the archive is not whole", "restore", "/root/cut.tar.zst", "--replace", "node1")
	b.spare.Boot(t, append(anew, "node1", "--dry-run")...)
	if after := b.identity(t, b.spare); after != before {
		t.Errorf("nothing was to change: it was %s, and is %s", before, after)
	}

	for _, at := range []string{"[cleanup-node/pods] ", "[cleanup-node/files] ", "[restore/files] write", "[control-plane/apiserver] write"} {
		cut(t, b.spare, syscall.SIGKILL, append(anew, "node1"), at)
	}
	said := b.spare.Boot(t, append(anew, "node1")...)
	if !strings.Contains(said, `This host is node "node7"`) || !strings.Contains(said, "kubectl delete node node1") {
		t.Errorf("it says %s", said)
	}
	if after := b.identity(t, b.spare); after != before {
		t.Errorf("it was %s, and is %s", before, after)
	}
	client := b.spare.Client(t, adminConf)
	lab.Until(t, 2*patience, "see node7 Ready", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, "node7", metav1.GetOptions{})
		if err == nil {
			err = nodeCondition(node, corev1.NodeReady, corev1.ConditionTrue)
		}
		return err
	})
	b.spare.Kubectl(t, "delete", "node", "node1")
	lab.Until(t, 2*patience, "see the workload on the new node", func(context.Context) error {
		for name := range containers(t, b.spare) { // the old node has none on this machine any more
			if strings.HasPrefix(name, "default/steady-") {
				return nil
			}
		}
		return errors.New("the workload does not run")
	})
}

// identity is what makes a cluster the same: its authorities, the key of service
// accounts, and an object.
func (b *backupTest) identity(t *testing.T, n *lab.Node) string {
	t.Helper()
	sums := n.Run(t, "sh", "-c", "cd /etc/kubernetes/pki && sha256sum ca.* etcd/ca.* front-proxy-ca.* sa.*")
	return sums + n.Kubectl(t, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
}
