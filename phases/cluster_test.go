package phases

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"boot.internal/config"
	"boot.internal/templates"
)

// clusterSteps are the phases that store something in the cluster.
func (w *world) clusterSteps() []Step {
	w.t.Helper()
	w.api() // for its short timeout
	steps, err := Init(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	first := slices.IndexFunc(steps, func(s Step) bool { return s.Name == "cluster-admins" })
	return slices.DeleteFunc(steps[first:], func(s Step) bool { return s.Name == "mark-control-plane" })
}

// What anyone may read of the cluster is where it is and which CA to trust.
func TestClusterInfo(t *testing.T) {
	w := running(t, "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: api.example:443")
	w.run(w.clusterSteps()...)
	var c corev1.ConfigMap
	w.object("/api/v1/namespaces/kube-public/configmaps/cluster-info", &c)
	kubeconfig, err := clientcmd.Load([]byte(c.Data["kubeconfig"]))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(w.tree().CA.Cert)
	if err != nil {
		t.Fatal(err)
	}
	cluster := kubeconfig.Clusters[""]
	if len(kubeconfig.AuthInfos) > 0 || cluster.Server != "https://api.example:443" || string(cluster.CertificateAuthorityData) != string(ca) {
		t.Errorf("cluster-info is %s", c.Data["kubeconfig"])
	}
}

// People edit the configuration of CoreDNS; nobody takes that from them.
func TestCoreDNSConfigurationIsThePeoples(t *testing.T) {
	const path = "/api/v1/namespaces/kube-system/configmaps/coredns"
	w := running(t, "")
	w.runAll()
	w.change(path, func(c *corev1.ConfigMap) { c.Data["Corefile"] = "edited" })
	if changes := w.runAll(); len(changes) > 0 {
		t.Errorf("changed %q", changes)
	}
}

// objects is the phase that stores typed objects.
func objects(api apiServer, typed ...runtime.Object) Phase {
	return stored(api, func() ([]*unstructured.Unstructured, error) {
		var all []*unstructured.Unstructured
		for _, o := range typed {
			kinds, _, err := scheme.Scheme.ObjectKinds(o)
			if err != nil {
				return nil, err
			}
			content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
			if err != nil {
				return nil, err
			}
			delete(content, "status")
			u := &unstructured.Unstructured{Object: content}
			u.SetGroupVersionKind(kinds[0])
			all = append(all, u)
		}
		return all, nil
	})
}

func TestStoringAgainChangesNothing(t *testing.T) {
	w := running(t, withToken)
	if changes := w.run(w.clusterSteps()...); len(changes) < 15 {
		t.Errorf("changed only %q", changes)
	}
	w.wrote()
	if changes := w.run(w.clusterSteps()...); len(changes) > 0 {
		t.Errorf("changed again: %q", changes)
	}
	if writes := w.wrote(); len(writes) > 0 {
		t.Errorf("wrote again: %q", writes)
	}
}

// Before there is an API server, a dry run still says all it would do, in the
// same words as the run that does it.
func TestDryRunBeforeThereIsAnAPIServer(t *testing.T) {
	made := running(t, withToken)
	want := made.run(made.clusterSteps()...)
	for name, w := range map[string]*world{"no files": newWorld(t, withToken), "nobody listens": stopped(t)} {
		t.Run(name, func(t *testing.T) {
			got, err := runSteps(t.Context(), Runner{DryRun: true}, w.clusterSteps()...)
			if err != nil {
				t.Fatal(err)
			}
			for _, change := range want {
				if !slices.Contains(got, change) {
					t.Errorf("does not say %q", change)
				}
			}
		})
	}
}

// stopped is a world whose API server has gone.
func stopped(t *testing.T) *world {
	w := running(t, withToken)
	w.server.Close()
	return w
}

func (w *world) runAll() []string { return w.run(w.clusterSteps()...) }

// Drift is what somebody else did to an object since.
func TestDrift(t *testing.T) {
	const path = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
	binding := parse("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins")
	for _, tt := range []struct {
		name   string
		change func(*world)
		want   []string
	}{
		{"changed back", func(w *world) {
			w.change(path, func(c *corev1.ConfigMap) { c.Data["ClusterConfiguration"] = "changed" })
		}, []string{"update ConfigMap kube-system/kubeadm-config"}},
		{"others' fields are theirs", func(w *world) {
			w.change(path, func(c *corev1.ConfigMap) { c.Data["other"] = "field"; c.Labels = map[string]string{"a": "b"} })
		}, nil},
		{"removed", func(w *world) {
			if err := w.tracker.Delete(binding.gvr, "", binding.name); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"create ClusterRoleBinding kubeadm:cluster-admins"}},
		{"more subjects than boot's", func(w *world) {
			var b rbacv1.ClusterRoleBinding
			w.object("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:cluster-admins", &b)
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "intruders"})
			if err := w.tracker.Update(binding.gvr, &b, ""); err != nil {
				w.t.Fatal(err)
			}
		}, []string{"update ClusterRoleBinding kubeadm:cluster-admins"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := running(t, withToken)
			w.runAll()
			tt.change(w)
			if diff := cmp.Diff(tt.want, w.runAll()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// change edits a ConfigMap as kubectl would.
func (w *world) change(path string, edit func(*corev1.ConfigMap)) {
	w.t.Helper()
	var c corev1.ConfigMap
	w.object(path, &c)
	edit(&c)
	target := parse(path)
	if err := w.tracker.Update(target.gvr, &c, target.namespace, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
		w.t.Fatal(err)
	}
}

// What boot once applied and no longer wants is removed.
func TestFieldsNoLongerWanted(t *testing.T) {
	w := running(t, "")
	cm := func(data map[string]string, labels map[string]string) Phase {
		return objects(w.api(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "c", Labels: labels}, Data: data,
		})
	}
	w.runPhase(cm(map[string]string{"a": "1", "b": "2"}, map[string]string{"l": "1"}))
	for _, p := range []Phase{cm(map[string]string{"a": "1"}, map[string]string{"l": "1"}), cm(map[string]string{"a": "1"}, nil)} {
		if got := w.runPhase(p); !slices.Equal(got, []string{"update ConfigMap kube-system/c"}) {
			t.Errorf("changed %q", got)
		}
	}
	var c corev1.ConfigMap
	w.object("/api/v1/namespaces/kube-system/configmaps/c", &c)
	if len(c.Data) != 1 || len(c.Labels) != 0 {
		t.Errorf("left %v, %v", c.Data, c.Labels)
	}
}

// The comparison on this side may see a difference where there is none: then
// the API server is asked, and nothing is written.
func TestTheServerHasTheLastWord(t *testing.T) {
	w := running(t, "")
	service := func(ports ...corev1.ServicePort) *corev1.Service {
		return &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "dns"},
			Spec:       corev1.ServiceSpec{Ports: ports},
		}
	}
	dns := corev1.ServicePort{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}
	p := objects(w.api(), service(dns))
	w.runPhase(p)
	var live corev1.Service
	w.object("/api/v1/namespaces/kube-system/services/dns", &live)
	live.Spec.Ports = append(live.Spec.Ports, corev1.ServicePort{Name: "metrics", Port: 9153, Protocol: corev1.ProtocolTCP})
	if err := w.tracker.Update(parse("/api/v1/services").gvr, &live, "kube-system", metav1.UpdateOptions{FieldManager: "other"}); err != nil {
		t.Fatal(err)
	}
	if got := w.plan(p); len(got) > 0 {
		t.Errorf("would change %q", got)
	}
}

// A new API server answers nearly anything for a moment.
func TestWritesArePatientReadsAreNot(t *testing.T) {
	noNamespace := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "kube-system")
	for _, tt := range []struct {
		name   string
		err    *apierrors.StatusError
		method string
		times  int
		want   string // in the error; empty: it passes
	}{
		{"no namespace yet", noNamespace, http.MethodPatch, 3, ""},
		{"no rules yet", apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "c", nil), http.MethodPatch, 3, ""},
		{"overloaded", apierrors.NewServiceUnavailable("busy"), http.MethodGet, 3, ""},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "c", nil), http.MethodPatch, 1, "is invalid"},
		{"not allowed to read", apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "c", nil), http.MethodGet, 1, "forbidden"},
		{"another CA's API server", apierrors.NewUnauthorized("who are you"), http.MethodPatch, 1, "who are you"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, times := running(t, ""), tt.times
			w.fail = func(r *http.Request) *apierrors.StatusError {
				if r.Method != tt.method || times == 0 {
					return nil
				}
				times--
				return tt.err
			}
			p := objects(w.api(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "c"}})
			_, err := runSteps(t.Context(), Runner{}, Step{Name: "p", Phase: p})
			if tt.want == "" && err != nil {
				t.Fatal(err)
			}
			if tt.want != "" {
				wantError(t, err, tt.want, "")
			}
			if times > 0 {
				t.Errorf("%d failures were not met", times)
			}
		})
	}
}

// outlasts returns the error of what gives up with a cause. It is given more patience
// for as long as a busy machine lets nobody hear of the cause before it gives up.
func outlasts(f func(patience time.Duration) error, cause string) error {
	patience := time.Second
	err := f(patience)
	for err != nil && !strings.Contains(err.Error(), cause) && patience < time.Minute {
		patience *= 4
		err = f(patience)
	}
	return err
}

// What never gets better ends with the last cause and not with the time alone.
func TestPatienceEndsWithTheCause(t *testing.T) {
	w := running(t, "")
	w.fail = func(*http.Request) *apierrors.StatusError {
		return apierrors.NewServiceUnavailable("etcdserver: no leader")
	}
	api := w.api()
	err := outlasts(func(patience time.Duration) error {
		api.timeout = patience
		_, err := runSteps(t.Context(), Runner{}, Step{Name: "p", Phase: stored(api, templates.ClusterAdmins)})
		return err
	}, "no leader")
	want := fmt.Sprintf("read ClusterRoleBinding kubeadm:cluster-admins: gave up after %s: etcdserver: no leader", api.timeout)
	wantError(t, err, want, "")
}

// The server's certificate is not from the CA in the kubeconfig: no waiting.
func TestAnotherClustersAPIServer(t *testing.T) {
	w, other := running(t, ""), running(t, "")
	api := w.api()
	api.url = localURL(other.cfg)
	begin := time.Now()
	_, err := stored(api, templates.ClusterAdmins).Plan(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") || time.Since(begin) > api.timeout {
		t.Errorf("after %s: %v", time.Since(begin), err)
	}
}

// What is stored can be read by what reads it: kubeadm's own decoder is strict.
func TestStoredConfigurationIsComplete(t *testing.T) {
	w := running(t, "")
	w.runAll()
	var c corev1.ConfigMap
	w.object("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", &c)
	var cluster config.ClusterConfiguration
	if err := yaml.UnmarshalStrict([]byte(c.Data["ClusterConfiguration"]), &cluster); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w.cfg.Cluster, cluster); diff != "" {
		t.Error(diff)
	}
}

func TestCoversAndExceeds(t *testing.T) {
	type list = []any
	for _, tt := range []struct {
		name       string
		have, want any
		covers     bool
	}{
		{"equal", object{"a": "1"}, object{"a": "1"}, true},
		{"more", object{"a": "1", "b": object{"c": "d"}}, object{"a": "1"}, true},
		{"less", object{"a": "1"}, object{"a": "1", "b": "2"}, false},
		{"nothing wanted", nil, object{"a": object{}}, true},
		{"numbers", object{"a": int64(1)}, object{"a": int64(1)}, true},
		{"other type", object{"a": "1"}, object{"a": int64(1)}, false},
		{"element with defaults", list{object{"a": "1", "b": "2"}}, list{object{"a": "1"}}, true},
		{"longer list", list{"a", "b"}, list{"a"}, false},
		{"no list", nil, list{"a"}, false},
		{"empty list", nil, list{}, true},
	} {
		if got := covers(tt.have, tt.want); got != tt.covers {
			t.Errorf("covers, %s: %v", tt.name, got)
		}
	}
	for _, tt := range []struct {
		name    string
		owned   object
		want    any
		exceeds bool
	}{
		{"equal", object{"f:a": object{}}, object{"a": "1"}, false},
		{"gone", object{"f:a": object{}, "f:b": object{}}, object{"a": "1"}, true},
		{"gone below", object{"f:a": object{".": object{}, "f:b": object{}}}, object{"a": object{}}, true},
		{"element", object{`k:{"name":"x"}`: object{".": object{}, "f:name": object{}}}, list{object{"name": "x"}}, false},
		{"element gone", object{`k:{"name":"x"}`: object{}}, list{object{"name": "y"}}, true},
		{"field of an element gone", object{`k:{"name":"x"}`: object{"f:cpu": object{}}}, list{object{"name": "x"}}, true},
		{"number as key", object{`k:{"port":53,"protocol":"UDP"}`: object{}}, list{object{"port": int64(53)}}, false},
		{"scalars of a set", object{`v:"x"`: object{}}, list{"x"}, false},
	} {
		if got := exceeds(tt.owned, tt.want); got != tt.exceeds {
			t.Errorf("exceeds, %s: %v", tt.name, got)
		}
	}
}
