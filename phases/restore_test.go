package phases

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"boot.internal/backup"
	"boot.internal/config"
	"boot.internal/templates"
)

// An archived is an archive of a node whose cluster stores what init has stored.
type archived struct {
	*backup.Archive
	t        *testing.T
	revision uint64
}

func newArchived(t *testing.T) *archived {
	t.Helper()
	a := &archived{t: t, Archive: &backup.Archive{
		Dir: t.TempDir(), About: backup.About{Node: "node-1", Address: "192.0.2.10:7777"},
	}}
	w := newWorld(t, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: mine\n")
	w.cfg.Cluster.CertificatesDir, w.cfg.Kubelet.StaticPodPath, w.cfg.Cluster.Etcd.Local.DataDir = "/etc/kubernetes/pki", "/etc/kubernetes/manifests", "/var/lib/etcd"
	for _, render := range []func(*config.Init) ([]*unstructured.Unstructured, error){templates.KubeadmConfig, templates.KubeletConfig, templates.BootConfig} {
		objects, err := render(w.cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range objects {
			if obj.GetKind() != "ConfigMap" {
				continue
			}
			var m corev1.ConfigMap
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &m); err != nil {
				t.Fatal(err)
			}
			a.store(configMapKeys+m.Name, "ConfigMap", &m)
		}
	}
	a.store(nodeKeys+"node-1", "Node", &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1"},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{
			{Key: "node.kubernetes.io/unreachable", Effect: corev1.TaintEffectNoExecute}, {Key: "mine", Effect: corev1.TaintEffectNoSchedule},
		}},
	})
	return a
}

// controlPlane writes the Node of a control plane.
func (a *archived) controlPlane(name string) {
	a.t.Helper()
	a.store(nodeKeys+name, "Node", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{roleLabel: ""}}})
}

// store writes an object as the API server and etcd do.
func (a *archived) store(key, kind string, obj interface{ Marshal() ([]byte, error) }) {
	a.t.Helper()
	raw, err := obj.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	envelope := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: kind}, Raw: raw}
	value, err := envelope.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	a.put(key, append([]byte("k8s\x00"), value...))
}

func (a *archived) put(key string, value []byte) {
	a.t.Helper()
	record, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte(key), Value: value})
	if err != nil {
		a.t.Fatal(err)
	}
	db, err := bbolt.Open(a.Path(archivedEtcd), 0o600, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	a.revision++
	revision := append(binary.BigEndian.AppendUint64(nil, a.revision), "_\x00\x00\x00\x00\x00\x00\x00\x00"...)
	err = db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("key"))
		if err != nil {
			return err
		}
		return b.Put(revision, record)
	})
	if err != nil {
		a.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		a.t.Fatal(err)
	}
}

// add puts a file into the archive.
func (a *archived) add(name, content string) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(a.Path(name)), 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(a.Path(name), []byte(content), 0o640); err != nil {
		a.t.Fatal(err)
	}
	a.Files = append(a.Files, name)
}

func hostWith(addresses ...string) config.Host {
	h := config.Host{Name: "spare"}
	for _, a := range addresses {
		h.Default = append(h.Default, netip.MustParseAddr(a))
		h.Prefixes = append(h.Prefixes, netip.MustParsePrefix(a+"/24"))
	}
	return h
}

func TestRestoredConfig(t *testing.T) {
	a := newArchived(t)
	for _, c := range []struct {
		name          string
		node          RestoredNode
		host          config.Host
		wants, wantAt string
		same          bool
	}{
		{"the same machine", RestoredNode{}, hostWith("192.0.2.10"), "node-1", "192.0.2.10", true},
		{"another address", RestoredNode{}, hostWith("192.0.2.20"), "node-1", "192.0.2.20", false},
		{"another name", RestoredNode{Name: "node-7"}, hostWith("192.0.2.10"), "node-7", "192.0.2.10", false},
		{"one of two addresses", RestoredNode{Address: "192.0.2.20"}, hostWith("192.0.2.10", "192.0.2.20"), "node-1", "192.0.2.20", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, same, err := RestoredConfig(a.Archive, c.node, c.host)
			if err != nil {
				t.Fatal(err)
			}
			node, at := cfg.Init.NodeRegistration, cfg.Init.LocalAPIEndpoint
			if node.Name != c.wants || at.AdvertiseAddress != c.wantAt || at.BindPort != 7777 || same != c.same || cfg.Cluster.ClusterName != "mine" {
				t.Errorf("%s at %+v of %s, same %v", node.Name, at, cfg.Cluster.ClusterName, same)
			}
			if diff := cmp.Diff([]corev1.Taint{{Key: "mine", Effect: corev1.TaintEffectNoSchedule}}, node.Taints); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, _, err := RestoredConfig(a.Archive, RestoredNode{Address: "198.51.100.1"}, hostWith("192.0.2.10"))
	wantError(t, err, "198.51.100.1 is not an address of this host", "")
	a.put(configMapKeys+"kubelet-config", []byte("k8s:enc:aescbc:v1:key1:…"))
	_, _, err = RestoredConfig(a.Archive, RestoredNode{}, hostWith("192.0.2.10"))
	wantError(t, err, "ConfigMap kube-system/kubelet-config in the backup: it is encrypted", "boot etcd snapshot restore")
}

// Those that were control planes, too, are known from the data.
func TestOtherControlPlanes(t *testing.T) {
	a := newArchived(t)
	for name, role := range map[string]string{"node-1": roleLabel, "node-3": roleLabel, "node-2": roleLabel, "worker": "zone"} {
		a.store(nodeKeys+name, "Node", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{role: ""}}})
	}
	names, err := OtherControlPlanes(a.Path(archivedEtcd), "node-1")
	if diff := cmp.Diff([]string{"node-2", "node-3"}, names); err != nil || diff != "" {
		t.Error(err, diff)
	}
	a.put(nodeKeys+"node-2", []byte("k8s:enc:aescbc:v1:key1:…"))
	_, err = OtherControlPlanes(a.Path(archivedEtcd), "node-1")
	wantError(t, err, "Node node-2 in the snapshot: it is encrypted", "")
}

// What is in the data of the cluster is left as it is; what names another host is
// made anew.
func TestRestorePhases(t *testing.T) {
	a := newArchived(t)
	for _, name := range []string{"pki/ca.crt", "pki/sa.key", "kubernetes/admin.conf", "kubernetes/audit/policy.yaml", "manifests/kube-apiserver.yaml", "manifests/mine.yaml"} {
		a.add(name, "content of "+name)
	}
	for _, same := range []bool{true, false} {
		w := newWorld(t, "")
		o := RestoreOptions{Init: InitOptions{Config: w.cfg, Dirs: w.dirs}, Archive: a.Archive, Same: same}
		o.Snapshot.Digest = strings.Repeat("ab", 32)
		steps, err := Restore(o)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range steps {
			names = append(names, s.Name)
		}
		order := []string{"preflight", "restore/files", "kubelet-start", "certs/etcd-ca", "restore/data", "restore/swap", "etcd/local", "control-plane/apiserver", "restore/pods", "restore/tidy"}
		at := -1
		for _, name := range order {
			i := slices.Index(names, name)
			if i <= at {
				t.Errorf("%s is at %d in %q", name, i, names)
			}
			at = i
		}
		for _, name := range []string{"addon/coredns", "upload-config/kubeadm", "addon/kube-proxy"} {
			if slices.Contains(names, name) {
				t.Errorf("%s is in the data already", name)
			}
		}
		if slices.Contains(names, "bootstrap-token") == same {
			t.Errorf("same %v: %q", same, names)
		}
		wrote := w.apply(PlanFunc(o.files))
		if conf := "write " + filepath.Join(w.dirs.Kubernetes, "admin.conf"); slices.Contains(wrote, conf) != same || len(wrote) < 3 {
			t.Errorf("same %v: wrote %q", same, wrote)
		}
		w.apply(PlanFunc(o.pods))
		if got := read(t, filepath.Join(w.cfg.Kubelet.StaticPodPath, "mine.yaml")); got != "content of manifests/mine.yaml" || exists(filepath.Join(w.cfg.Kubelet.StaticPodPath, "kube-apiserver.yaml")) {
			t.Errorf("pods: %s", got)
		}
	}
}

// apply carries a phase out, and returns what it did.
func (w *world) apply(p Phase) []string {
	w.t.Helper()
	changes, err := runSteps(w.t.Context(), Runner{}, Step{Name: "phase", Phase: p})
	if err != nil {
		w.t.Fatal(err)
	}
	return changes
}
