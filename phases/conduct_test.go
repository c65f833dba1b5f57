package phases

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"boot.internal/certs"
	"boot.internal/config"
)

// A conductWorld is a cluster whose nodes do what they are told, at once.
type conductWorld struct {
	t      *testing.T
	client *fake.Clientset
	o      ConductOptions
	told   []string          // "node stage", in the order in which nodes were told
	states map[string]string // directories of what control planes keep
	sick   map[string]string // why a node does not do its part
	opened map[string]bool   // control planes that could read the new keys
	silent map[string]bool   // nodes that answer nothing
}

func newConductWorld(t *testing.T, controlPlanes, workers int) *conductWorld {
	t.Helper()
	dir := t.TempDir()
	w := &conductWorld{
		t: t, client: fake.NewClientset(), states: map[string]string{}, sick: map[string]string{}, opened: map[string]bool{}, silent: map[string]bool{},
	}
	w.o = ConductOptions{
		Client: func() (kubernetes.Interface, error) { return w.client, nil },
		State:  filepath.Join(dir, "cp1"), Node: "cp1", PKI: certs.Tree(filepath.Join(dir, "pki")),
		Authorities: []string{RotateCluster, RotateFrontProxy},
	}
	pki := certs.New(certs.Options{Dir: filepath.Join(dir, "pki"), Algorithm: certs.ECDSAP256, CAPeriod: 24 * time.Hour, Period: time.Hour})
	for _, item := range pki.All() {
		if item.Name == "certs/ca" || item.Name == "certs/front-proxy-ca" {
			w.make(item)
		}
	}
	for i := range controlPlanes {
		name := fmt.Sprint("cp", i+1)
		w.states[name] = filepath.Join(dir, name)
		w.join(name, map[string]string{roleLabel: ""})
	}
	for i := range workers {
		w.join(fmt.Sprint("w", i+1), nil)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: certsName}})
	w.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-public", Name: "cluster-info"}, Data: map[string]string{"kubeconfig": w.info(w.ca())}})
	w.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: publishedClients}, Data: map[string]string{"client-ca-file": string(w.ca())},
	})
	w.client.PrependReactor("patch", "nodes", w.follow)
	w.client.PrependReactor("delete", "configmaps", w.rewrite)
	return w
}

// make makes an authority.
func (w *conductWorld) make(item certs.Item) {
	w.t.Helper()
	writes, err := item.Plan()
	for _, write := range writes {
		err = errors.Join(err, write.Do())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// join makes a Node.
func (w *conductWorld) join(name string, labels map[string]string) {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: map[string]string{config.RotationFollows: "v1"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	w.create(n)
}

func (w *conductWorld) create(obj runtime.Object) {
	w.t.Helper()
	if err := w.client.Tracker().Add(obj); err != nil {
		w.t.Fatal(err)
	}
}

// ca is the authority that is to be replaced.
func (w *conductWorld) ca() []byte { return []byte(read(w.t, w.o.PKI.CA.Cert)) }

// info is the kubeconfig for strangers.
func (w *conductWorld) info(ca []byte) string {
	w.t.Helper()
	data, err := clientcmd.Write(clientcmdapi.Config{Clusters: map[string]*clientcmdapi.Cluster{"": {Server: "https://192.0.2.1:6443", CertificateAuthorityData: ca}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// strangersTrust is how many authorities strangers are told to trust, and whether the
// old one is among them.
func (w *conductWorld) strangersTrust() (n int, old bool) {
	w.t.Helper()
	m := w.configMap("kube-public", "cluster-info")
	conf, err := clientcmd.Load([]byte(m.Data["kubeconfig"]))
	if err != nil {
		w.t.Fatal(err)
	}
	ca := conf.Clusters[""].CertificateAuthorityData
	return bytes.Count(ca, []byte("BEGIN CERTIFICATE")), bytes.Contains(ca, bytes.TrimSpace(w.ca()))
}

// configMap returns one, nil if there is none.
func (w *conductWorld) configMap(namespace, name string) *corev1.ConfigMap {
	w.t.Helper()
	m, err := w.client.CoreV1().ConfigMaps(namespace).Get(w.t.Context(), name, metav1.GetOptions{})
	if gone(err) != nil {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return m
}

// follow does what loops do who are told: the patch is carried out with the answer in
// it.
func (w *conductWorld) follow(action clienttesting.Action) (bool, runtime.Object, error) {
	patch := action.(clienttesting.PatchActionImpl)
	_, stage, ok := bytes.Cut(patch.Patch, []byte(`"`+config.RotationWanted+`":"`))
	if !ok {
		return false, nil, nil
	}
	stage, _, _ = bytes.Cut(stage, []byte(`"`))
	value, node := string(stage), patch.GetName()
	w.told = append(w.told, node+" "+value[strings.Index(value, "/")+1:])
	if w.silent[node] {
		return false, nil, nil
	}
	// The client waits for the answer to its patch: what follows comes after it.
	go w.answer(node, value)
	return false, nil, nil
}

func (w *conductWorld) answer(node, value string) {
	time.Sleep(time.Millisecond)
	answers := map[string]string{config.RotationDone: value}
	if why := w.sick[node]; why != "" {
		answers = map[string]string{config.RotationTrouble: value + ": " + why}
	} else if err := w.converge(node, value, answers); err != nil {
		w.t.Error(err)
	}
	n, err := w.client.CoreV1().Nodes().Get(context.Background(), node, metav1.GetOptions{})
	if err != nil {
		w.t.Error(err)
		return
	}
	maps.Copy(n.Annotations, answers)
	if _, err := w.client.CoreV1().Nodes().Update(context.Background(), n, metav1.UpdateOptions{}); err != nil {
		w.t.Error(err)
	}
}

// converge is a control plane that makes a key, and opens what was sealed for it.
func (w *conductWorld) converge(node, value string, answers map[string]string) error {
	state := w.states[node]
	if state == "" {
		return nil
	}
	switch {
	case strings.HasSuffix(value, "/trust"):
		key, err := certs.RecipientKey(RecipientPath(state))
		answers[config.RotationRecipient] = base64.StdEncoding.EncodeToString(key)
		return err
	case strings.HasSuffix(value, "/issue"):
		m := w.configMap("kube-system", config.RotationMap)
		r, err := DecodeRotation(m.Data)
		if err != nil {
			return err
		}
		keys, err := OpenRotationKeys(state, node, r, m.Data)
		w.opened[node] = err == nil && len(keys) == len(r.Authorities) && bytes.Contains(keys[RotateCluster], []byte("PRIVATE KEY"))
		return err
	}
	return nil
}

// rewrite is the API servers, who write anew whom they trust.
func (w *conductWorld) rewrite(action clienttesting.Action) (bool, runtime.Object, error) {
	if action.(clienttesting.DeleteAction).GetName() != publishedClients {
		return false, nil, nil
	}
	go func() {
		time.Sleep(time.Millisecond)
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: publishedClients}, Data: map[string]string{"client-ca-file": "new"}}
		if _, err := w.client.CoreV1().ConfigMaps("kube-system").Create(context.Background(), m, metav1.CreateOptions{}); err != nil {
			w.t.Error(err)
		}
	}()
	return false, nil, nil
}

// run is a run of the command.
func (w *conductWorld) run() error {
	_, err := runSteps(w.t.Context(), Runner{}, Conduct(w.o)...)
	return err
}

// over fails unless nothing is left of the rotation but what it is for.
func (w *conductWorld) over() {
	w.t.Helper()
	if w.configMap("kube-system", config.RotationMap) != nil || exists(rotationNotePath(w.o.State)) {
		w.t.Error("what was only for the rotation is still there")
	}
	nodes, err := w.client.CoreV1().Nodes().List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range nodes.Items {
		if annotated(&n) {
			w.t.Errorf("%s has %q", n.Name, n.Annotations)
		}
	}
	if n, old := w.strangersTrust(); n != 1 || old {
		w.t.Errorf("strangers trust %d authorities, the old one %v", n, old)
	}
	if m := w.configMap("kube-system", publishedClients); m == nil || m.Data["client-ca-file"] != "new" {
		w.t.Error("API servers tell of the old authority")
	}
}

func TestConduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newConductWorld(t, 2, 2)
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		want := []string{
			"cp1 trust", "cp2 trust", "w1 trust", "w2 trust", "cp1 issue", "cp2 issue",
			"cp1 renew", "cp2 renew", "w1 renew", "w2 renew", "cp1 drop", "cp2 drop", "w1 drop", "w2 drop",
		}
		if !slices.Equal(w.told, want) {
			t.Errorf("told %q", w.told)
		}
		if !w.opened["cp1"] || !w.opened["cp2"] {
			t.Errorf("opened %v", w.opened)
		}
		w.over()
		if _, err := w.client.CoreV1().Secrets("kube-system").Get(t.Context(), certsName, metav1.GetOptions{}); gone(err) != nil || err == nil {
			t.Errorf("the Secret with the old keys: %v", err)
		}
		if roles, err := w.client.RbacV1().Roles("kube-system").List(t.Context(), metav1.ListOptions{}); err != nil || len(roles.Items) > 0 {
			t.Error(roles, err)
		}
	})
}

// While it goes on, nodes may read what is rotated, strangers trust both, and nothing
// that the cluster is told is secret.
func TestConductTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newConductWorld(t, 1, 1)
		w.silent["w1"] = true
		err := w.run()
		wantError(t, err, "gave up after 15m0s: w1 is at it", "")
		if n, old := w.strangersTrust(); n != 2 || !old {
			t.Errorf("strangers trust %d authorities, the old one %v", n, old)
		}
		binding, err := w.client.RbacV1().RoleBindings("kube-system").Get(t.Context(), config.RotationMap, metav1.GetOptions{})
		if err != nil || binding.Subjects[0].Name != "system:nodes" || binding.RoleRef.Name != config.RotationMap {
			t.Errorf("%v %v", binding, err)
		}
		role, err := w.client.RbacV1().Roles("kube-system").Get(t.Context(), config.RotationMap, metav1.GetOptions{})
		if want := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{config.RotationMap}, Verbs: []string{"get"}}}; err != nil || fmt.Sprint(role.Rules) != fmt.Sprint(want) {
			t.Errorf("%v %v", role, err)
		}
		note, err := readRotationNote(w.o.State)
		if err != nil {
			t.Fatal(err)
		}
		m := w.configMap("kube-system", config.RotationMap)
		for _, key := range note.Keys {
			block, _ := pem.Decode(key)
			if text := fmt.Sprint(m.Data); strings.Contains(text, "PRIVATE") || strings.Contains(text, base64.StdEncoding.EncodeToString(block.Bytes)) {
				t.Error("the cluster is told a key")
			}
		}
		if fi, err := os.Stat(rotationNotePath(w.o.State)); err != nil || fi.Mode().Perm() != 0o600 {
			t.Error(fi.Mode(), err)
		}
	})
}

// A node in trouble says so, the next stage does not begin, and the next run goes on.
func TestConductWaitsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newConductWorld(t, 2, 0)
		w.sick["cp2"] = "etcd is ill"
		err := w.run()
		wantError(t, err, "gave up after 15m0s: cp2 has trouble: etcd is ill", "the same command")
		if want := []string{"cp1 trust", "cp2 trust"}; !slices.Equal(w.told, want) {
			t.Errorf("told %q", w.told)
		}
		delete(w.sick, "cp2")
		w.answer("cp2", w.node("cp2").Annotations[config.RotationWanted])
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		w.over()
	})
}

// A control plane that has joined when the others trust both already is told to, before
// it is sent anything.
func TestConductLateControlPlane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newConductWorld(t, 1, 1)
		w.sick["cp1"] = "etcd is ill"
		wantError(t, w.run(), "cp1 has trouble", "")
		delete(w.sick, "cp1")
		w.answer("cp1", w.node("cp1").Annotations[config.RotationWanted])
		w.silent["w1"] = true
		wantError(t, w.run(), "w1 is at it", "")
		w.states["cp2"] = w.states["cp1"] + "-late"
		w.join("cp2", map[string]string{roleLabel: ""})
		value := w.node("w1").Annotations[config.RotationWanted]
		w.changeWorker(func(n *corev1.Node) { n.Annotations[config.RotationDone] = value })
		if _, err := w.client.CoreV1().ConfigMaps("kube-system").Patch(t.Context(), config.RotationMap, types.MergePatchType, []byte(`{"data":{"stage":"issue"}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		delete(w.silent, "w1")
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		if !w.opened["cp2"] || !slices.Contains(w.told, "cp2 trust") {
			t.Errorf("opened %v, told %q", w.opened, w.told)
		}
		w.over()
	})
}

func (w *conductWorld) node(name string) *corev1.Node {
	w.t.Helper()
	n, err := w.client.CoreV1().Nodes().Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// Whatever change a run is killed after, the next one brings the same rotation to its
// end. Of the changes, which all begin by looking anew, every third does.
func TestConductGoesOn(t *testing.T) {
	for after := 2; ; after += 3 {
		all := true
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newConductWorld(t, 1, 1)
				w.o.Authorities = []string{RotateCluster}
				all = !w.killAfter(after)
				told := w.configMap("kube-system", config.RotationMap)
				if all {
					return
				}
				if err := w.run(); err != nil {
					t.Fatal(err)
				}
				w.over()
				if told != nil && len(w.told) != len(slices.Compact(slices.Sorted(slices.Values(w.told)))) {
					t.Errorf("told twice: %q", w.told)
				}
			})
		})
		if all {
			return
		}
	}
}

// killAfter runs until so many changes are made. It reports whether it came to that.
func (w *conductWorld) killAfter(n int) (killed bool) {
	w.t.Helper()
	dead := errors.New("killed")
	ctx, kill := context.WithCancelCause(w.t.Context())
	defer kill(nil)
	err := Runner{Report: func(e Event) {
		if e.State == Changing {
			if n--; n < 0 {
				kill(dead)
			}
		}
	}}.Run(ctx, Conduct(w.o))
	if err != nil && !errors.Is(err, dead) {
		w.t.Fatal(err)
	}
	return err != nil
}

func TestConductRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*conductWorld)
		skip   string
		want   string
	}{
		"a node that is not Ready":              {change: func(w *conductWorld) { w.changeWorker(func(n *corev1.Node) { n.Status.Conditions = nil }) }, want: "node w1 is not Ready"},
		"a node that is left out":               {change: func(w *conductWorld) { w.changeWorker(func(n *corev1.Node) { n.Status.Conditions = nil }) }, skip: "w1"},
		"a node that nobody knows to leave out": {change: func(*conductWorld) {}, skip: "w9", want: "no node is called w9"},
		"the node itself to leave out":          {change: func(*conductWorld) {}, skip: "cp1", want: "cp1, on which this is run, cannot be left out"},
		"another node agent":                    {change: func(w *conductWorld) { w.changeWorker(func(n *corev1.Node) { n.Annotations = nil }) }, want: "the node agent of w1 () does not know"},
		"a key that is elsewhere": {change: func(w *conductWorld) {
			if err := os.Remove(w.o.PKI.CA.Key); err != nil {
				w.t.Fatal(err)
			}
		}, want: "[Authority-ca] ca: "},
		"an upgrade": {change: func(w *conductWorld) {
			if err := os.MkdirAll(w.o.State, 0o700); err != nil {
				w.t.Fatal(err)
			}
			if err := os.WriteFile(notePath(w.o.State), []byte("{}"), 0o600); err != nil {
				w.t.Fatal(err)
			}
		}, want: "an upgrade of this node"},
		"the keys of a rotation begun elsewhere": {change: func(w *conductWorld) {
			w.create(&corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: config.RotationMap},
				Data:       map[string]string{config.RotationMapDocument: `{"id":"1"}`, config.RotationMapOrigin: "cp9", config.RotationMapStage: "trust"},
			})
		}, want: "the new keys are on cp9"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newConductWorld(t, 1, 1)
				c.change(w)
				if c.skip != "" {
					w.o.Skip = []string{c.skip}
				}
				err := w.run()
				if c.want == "" {
					if err != nil || slices.ContainsFunc(w.told, func(s string) bool { return strings.HasPrefix(s, c.skip+" ") }) {
						t.Errorf("%v, told %q", err, w.told)
					}
					return
				}
				wantError(t, err, c.want, "")
				if len(w.told) > 0 || exists(rotationNotePath(w.o.State)) {
					t.Errorf("told %q", w.told)
				}
			})
		})
	}
}

func (w *conductWorld) changeWorker(do func(*corev1.Node)) {
	w.t.Helper()
	n := w.node("w1")
	do(n)
	if _, err := w.client.CoreV1().Nodes().Update(w.t.Context(), n, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestConductDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newConductWorld(t, 2, 2)
		changes, err := runSteps(t.Context(), Runner{DryRun: true}, Conduct(w.o)...)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"have cp2 trust the old and the new authorities", "have w1, w2 trust the old and the new authorities", "seal the new keys for cp2",
			"have cp1, cp2, w1, w2 ask for the certificates of the node agent again", "have w1, w2 trust the old authorities no more",
		} {
			if !slices.Contains(changes, want) {
				t.Errorf("no %q in %q", want, changes)
			}
		}
		if len(w.told) > 0 || w.configMap("kube-system", config.RotationMap) != nil {
			t.Error("something was done")
		}
	})
}

func TestRotatableAuthorities(t *testing.T) {
	pki := certs.Tree(t.TempDir())
	if got, err := RotatableAuthorities([]string{"all"}, pki); err != nil || !slices.Equal(got, []string{RotateCluster, RotateFrontProxy}) {
		t.Error(got, err)
	}
	_, err := RotatableAuthorities([]string{RotateEtcd}, pki)
	wantError(t, err, "etcd is somebody else's", "")
	_, err = RotatableAuthorities([]string{"sa"}, pki)
	wantError(t, err, "no authority is called sa", "front-proxy-ca")
	if err := os.MkdirAll(filepath.Dir(pki.EtcdCA.Cert), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pki.EtcdCA.Cert, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := RotatableAuthorities([]string{RotateEtcd, RotateCluster}, pki); err != nil || !slices.Equal(got, []string{RotateCluster, RotateEtcd}) {
		t.Error(got, err)
	}
}
