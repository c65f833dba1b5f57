package source_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source"
)

// An apiWorld is an API server and the origin that follows it.
type apiWorld struct {
	t    *testing.T
	api  *fake.Clientset
	logs strings.Builder

	mu    sync.Mutex // guards what follows
	sent  []source.Snapshot
	also  []string
	fault error // of lists
}

func onAPI(t *testing.T, f func(w *apiWorld), existing ...runtime.Object) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &apiWorld{t: t, api: fake.NewClientset(existing...)}
		w.api.PrependReactor("list", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
			if got := a.(ktesting.ListAction).GetListRestrictions().Fields.String(); got != "spec.nodeName=n1" {
				t.Errorf("listed with %q", got)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.fault != nil, nil, w.fault
		})
		f(w)
	})
}

// run follows the API until the test ends.
func (w *apiWorld) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	a := source.API(source.APIOptions{Node: "n1", Also: w, Log: slog.New(slog.NewTextHandler(&w.logs, nil))})
	go func() {
		defer close(done)
		a.Run(ctx, w.api.CoreV1(), func(s source.Snapshot) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.sent = append(w.sent, s)
		})
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

func (w *apiWorld) last() source.Snapshot {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sent) == 0 {
		w.t.Fatal("there was no snapshot")
	}
	return w.sent[len(w.sent)-1]
}

func (w *apiWorld) note(verb string, obj any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.also = append(w.also, verb+" "+obj.(*v1.Pod).Name)
	return nil
}

// The world hears of everything, too.
func (w *apiWorld) Add(obj any) error    { return w.note("add", obj) }
func (w *apiWorld) Update(obj any) error { return w.note("update", obj) }
func (w *apiWorld) Delete(obj any) error { return w.note("delete", obj) }
func (w *apiWorld) Resync() error        { return nil }
func (w *apiWorld) Replace(list []any, _ string) error {
	for _, obj := range list {
		if err := w.note("list", obj); err != nil {
			return err
		}
	}
	return nil
}

func podNamed(name string, age time.Duration) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name, UID: types.UID(name), ResourceVersion: "1",
		CreationTimestamp: metav1.NewTime(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Add(-age)),
		ManagedFields:     []metav1.ManagedFieldsEntry{{Manager: "someone"}},
	}}
}

func podNames(s source.Snapshot) string {
	var names []string
	for _, p := range s.Pods {
		names = append(names, p.Name)
	}
	return strings.Join(names, " ")
}

func TestAPI(t *testing.T) {
	onAPI(t, func(w *apiWorld) {
		w.run()
		s := w.last()
		if got := podNames(s); got != "old young" || s.Origin != pod.SourceAPI || s.Partial {
			t.Errorf("%+v", s)
		}
		p := s.Pods[0]
		if p.Annotations[pod.ConfigSource] != pod.SourceAPI || p.Annotations[pod.ConfigSeen] == "" || p.ManagedFields != nil {
			t.Errorf("not marked: %+v", p.ObjectMeta)
		}

		changed := podNamed("young", time.Minute)
		changed.ResourceVersion, changed.Labels = "2", map[string]string{"a": "b"}
		time.Sleep(time.Minute)
		if _, err := w.api.CoreV1().Pods("default").Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		now := w.last()
		if now.Pods[1].Labels["a"] != "b" || now.Pods[0] != p {
			t.Errorf("after an update of one: %+v", now.Pods)
		}
		if now.Pods[1].Annotations[pod.ConfigSeen] != s.Pods[1].Annotations[pod.ConfigSeen] {
			t.Error("a pod was first seen twice")
		}

		if err := w.api.CoreV1().Pods("default").Delete(t.Context(), "old", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := podNames(w.last()); got != "young" {
			t.Errorf("after a deletion: %s", got)
		}
		if got := strings.Join(w.also, ", "); got != "list old, list young, update young, delete old" {
			t.Errorf("also told: %s", got)
		}
	}, podNamed("young", time.Minute), podNamed("old", time.Hour))
}

// Without an answer there is no snapshot: what runs in the API's name must not
// be taken for unwanted (SP-45).
func TestAPIDoesNotAnswer(t *testing.T) {
	onAPI(t, func(w *apiWorld) {
		// One of client-go's handlers sleeps off errors by the clock of the process,
		// which is not that of the bubble.
		before := utilruntime.ErrorHandlers
		utilruntime.ErrorHandlers = nil
		t.Cleanup(func() { utilruntime.ErrorHandlers = before })
		w.fault = errors.New("connection refused")
		w.run()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(w.sent); n > 0 {
			t.Errorf("%d snapshots of an API that does not answer", n)
		}
		if n := strings.Count(w.logs.String(), "connection refused"); n != 1 {
			t.Errorf("the same error was logged %d times", n)
		}
		w.mu.Lock()
		w.fault = nil
		w.mu.Unlock()
		time.Sleep(15 * time.Second)
		if got := podNames(w.last()); got != "a" {
			t.Errorf("once it answers: %q", got)
		}
	}, podNamed("a", 0))
}

// A node without pods has said so.
func TestAPIHasNone(t *testing.T) {
	onAPI(t, func(w *apiWorld) {
		w.run()
		if s := w.last(); len(s.Pods) > 0 || s.Partial {
			t.Errorf("%+v", s)
		}
	})
}

// Many changes at once need not all be seen.
func TestAPIManyAtOnce(t *testing.T) {
	onAPI(t, func(w *apiWorld) {
		w.run()
		for i := range 50 {
			if _, err := w.api.CoreV1().Pods("default").Create(t.Context(), podNamed(fmt.Sprintf("p%02d", i), 0), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(w.last().Pods); n != 50 {
			t.Errorf("%d pods", n)
		}
	})
}
