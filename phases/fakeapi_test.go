package phases

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"

	"boot.internal/certs"
)

// A fakeAPI behaves like an API server where phases can tell: TLS with the
// certificates the phases made, server-side apply with managed fields, dry
// run, versions that conflict, watches. It validates and defaults nothing.
type fakeAPI struct {
	t       *testing.T
	tracker clienttesting.ObjectTracker

	mu       sync.Mutex
	version  int
	versions map[string]int // of objects, by path
	writes   []string       // "PATCH /api/v1/…", dry runs left out
	reads    int
	// fail, if set, may answer a request with an error in the server's place.
	fail func(*http.Request) *apierrors.StatusError
}

func newFakeAPI(t *testing.T) *fakeAPI {
	return &fakeAPI{t: t, tracker: fake.NewClientset().Tracker(), versions: map[string]int{}}
}

// start serves with the PKI in tree, trusting its CA for clients.
func (f *fakeAPI) start(server *httptest.Server, tree certs.Paths) {
	f.t.Helper()
	pair, err := tls.LoadX509KeyPair(tree.APIServer.Cert, tree.APIServer.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	ca, err := os.ReadFile(tree.CA.Cert)
	if err != nil {
		f.t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(ca)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
	server.Config.Handler = f
	server.StartTLS()
	f.t.Cleanup(server.Close)
}

// A target is what a request is about.
type target struct {
	gvr             schema.GroupVersionResource
	namespace, name string
}

func parse(path string) target {
	p := strings.Split(strings.Trim(path, "/"), "/")
	var t target
	if p[0] == "api" {
		t.gvr.Version, p = p[1], p[2:]
	} else {
		t.gvr.Group, t.gvr.Version, p = p[1], p[2], p[3:]
	}
	if p[0] == "namespaces" && len(p) > 2 {
		t.namespace, p = p[1], p[2:]
	}
	t.gvr.Resource = p[0]
	if len(p) > 1 {
		t.name = p[1]
	}
	return t
}

func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/livez" || r.URL.Path == "/readyz" {
		_, _ = fmt.Fprint(w, "ok")
		return
	}
	f.mu.Lock()
	if f.fail != nil {
		if err := f.fail(r); err != nil {
			f.mu.Unlock()
			f.answer(w, nil, err)
			return
		}
	}
	f.mu.Unlock()
	t := parse(r.URL.Path)
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		f.watch(w, r, t)
	case r.Method == http.MethodGet && t.name == "":
		f.list(w, r, t)
	case r.Method == http.MethodGet:
		f.get(w, r, t)
	case r.Method == http.MethodPatch:
		f.patch(w, r, t)
	case r.Method == http.MethodPost:
		f.create(w, r, t)
	default:
		f.t.Errorf("unexpected %s %s", r.Method, r.URL)
	}
}

func (f *fakeAPI) get(w http.ResponseWriter, r *http.Request, t target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	obj, err := f.tracker.Get(t.gvr, t.namespace, t.name)
	f.answer(w, f.versioned(r.URL.Path, obj), err)
}

// versioned returns obj with the version it has.
func (f *fakeAPI) versioned(path string, obj runtime.Object) runtime.Object {
	if obj == nil {
		return nil
	}
	obj = obj.DeepCopyObject()
	m, err := meta.Accessor(obj)
	if err != nil {
		f.t.Error(err)
	}
	m.SetResourceVersion(fmt.Sprint(f.versions[path]))
	if m.GetUID() == "" {
		m.SetUID(types.UID("uid-of-" + m.GetName()))
	}
	return obj
}

func (f *fakeAPI) list(w http.ResponseWriter, r *http.Request, t target) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	kinds := map[string]string{"secrets": "Secret", "nodes": "Node", "pods": "Pod"}
	all, err := f.tracker.List(t.gvr, t.gvr.GroupVersion().WithKind(kinds[t.gvr.Resource]), t.namespace)
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	items, err := meta.ExtractList(all)
	if err != nil {
		f.t.Error(err)
	}
	list := &unstructured.UnstructuredList{Object: map[string]any{"apiVersion": "v1", "kind": kinds[t.gvr.Resource] + "List"}}
	list.SetResourceVersion(fmt.Sprint(f.version))
	for _, item := range items {
		if u := encodeObject(f.t, item); selected(u, r.URL.Query().Get("fieldSelector")) {
			list.Items = append(list.Items, *u)
		}
	}
	f.write(w, http.StatusOK, list)
}

// missed says whether anything happened since the version a watch begins at.
func (f *fakeAPI) missed(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return r.URL.Query().Get("resourceVersion") != fmt.Sprint(f.version)
}

// selected knows the two selectors phases use.
func selected(u *unstructured.Unstructured, selector string) bool {
	field, value, _ := strings.Cut(selector, "=")
	have, _, _ := unstructured.NestedString(u.Object, strings.Split(field, ".")...)
	return selector == "" || have == value
}

func (f *fakeAPI) watch(w http.ResponseWriter, r *http.Request, t target) {
	if r.URL.Query().Get("resourceVersion") == "" {
		f.t.Error("a watch that does not say from when on may miss what happened before")
	}
	events, err := f.tracker.Watch(t.gvr, t.namespace)
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	defer events.Stop()
	w.Header().Set("Content-Type", "application/json")
	w.(http.Flusher).Flush()
	if f.missed(r) {
		return // the client lists again
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-events.ResultChan():
			f.event(w, r, e)
		}
	}
}

func (f *fakeAPI) event(w http.ResponseWriter, r *http.Request, e watch.Event) {
	u := encodeObject(f.t, e.Object)
	if !selected(u, r.URL.Query().Get("fieldSelector")) {
		return
	}
	data, err := json.Marshal(map[string]any{"type": e.Type, "object": u})
	if err != nil {
		f.t.Error(err)
	}
	_, _ = fmt.Fprintf(w, "%s\n", data)
	w.(http.Flusher).Flush()
}

func (f *fakeAPI) patch(w http.ResponseWriter, r *http.Request, t target) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tracker, dry := f.tracker, r.URL.Query().Get("dryRun") != ""
	if dry {
		tracker = f.copyOf(t)
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch") {
		err = applyTo(tracker, t, body, r.URL.Query().Get("fieldManager"))
	} else {
		err = f.merge(t, r.URL.Path, body)
	}
	if err != nil {
		f.answer(w, nil, err)
		return
	}
	if !dry {
		f.version++
		f.versions[r.URL.Path] = f.version
		f.writes = append(f.writes, r.Method+" "+r.URL.Path)
	}
	obj, err := tracker.Get(t.gvr, t.namespace, t.name)
	f.answer(w, f.versioned(r.URL.Path, obj), err)
}

// copyOf returns a tracker that holds the one object, to be changed in its place.
func (f *fakeAPI) copyOf(t target) clienttesting.ObjectTracker {
	tracker := fake.NewClientset().Tracker()
	if obj, err := f.tracker.Get(t.gvr, t.namespace, t.name); err == nil {
		if err := tracker.Add(obj.DeepCopyObject()); err != nil {
			f.t.Error(err)
		}
	}
	return tracker
}

func applyTo(tracker clienttesting.ObjectTracker, t target, body []byte, manager string) error {
	var content map[string]any
	if err := json.Unmarshal(body, &content); err != nil {
		return err
	}
	force := true
	return tracker.Apply(t.gvr, &unstructured.Unstructured{Object: content}, t.namespace, metav1.PatchOptions{FieldManager: manager, Force: &force})
}

func (f *fakeAPI) merge(t target, path string, body []byte) error {
	live, err := f.tracker.Get(t.gvr, t.namespace, t.name)
	if err != nil {
		return err
	}
	before, err := json.Marshal(f.versioned(path, live))
	if err != nil {
		return err
	}
	var want metav1.PartialObjectMetadata
	if err := json.Unmarshal(body, &want); err != nil {
		return err
	}
	if v := want.ResourceVersion; v != "" && v != fmt.Sprint(f.versions[path]) {
		return apierrors.NewConflict(t.gvr.GroupResource(), t.name, fmt.Errorf("version %s is old", v))
	}
	after, err := jsonpatch.MergePatch(before, body)
	if err != nil {
		return err
	}
	merged, _, err := scheme.Codecs.UniversalDeserializer().Decode(after, kindOf(live), nil)
	if err != nil {
		return err
	}
	return f.tracker.Update(t.gvr, merged, t.namespace)
}

func kindOf(obj runtime.Object) *schema.GroupVersionKind {
	kinds, _, err := scheme.Scheme.ObjectKinds(obj)
	if err != nil {
		return nil
	}
	return &kinds[0]
}

// put stores an object as somebody else than boot would.
func (f *fakeAPI) put(obj runtime.Object) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.version++
	if err := f.tracker.Add(obj); err != nil {
		f.t.Error(err)
	}
}

// object reads an object of the cluster into into.
func (f *fakeAPI) object(path string, into runtime.Object) {
	f.t.Helper()
	t := parse(path)
	obj, err := f.tracker.Get(t.gvr, t.namespace, t.name)
	if err != nil {
		f.t.Fatal(err)
	}
	data, err := json.Marshal(obj)
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// wrote returns what was written since it was asked last.
func (f *fakeAPI) wrote() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	writes := f.writes
	f.writes = nil
	return writes
}

func (f *fakeAPI) answer(w http.ResponseWriter, obj runtime.Object, err error) {
	if err == nil {
		f.write(w, http.StatusOK, encodeObject(f.t, obj))
		return
	}
	status := apierrors.NewInternalError(err).Status()
	if known, ok := err.(apierrors.APIStatus); ok {
		status = known.Status()
	}
	status.Kind, status.APIVersion = "Status", "v1"
	f.write(w, int(status.Code), &status)
}

func (f *fakeAPI) write(w http.ResponseWriter, code int, obj any) {
	data, err := json.Marshal(obj)
	if err != nil {
		f.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(data)
}

func encodeObject(t *testing.T, obj runtime.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Error(err)
	}
	u := &unstructured.Unstructured{Object: content}
	if kind := kindOf(obj); kind != nil {
		u.SetGroupVersionKind(*kind)
	}
	return u
}
