package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	k8stesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/source"
)

// A world is a Reconciler against an API that behaves: it gives UIDs, refuses
// names that are taken and preconditions that do not hold, and tells watchers.
type world struct {
	*testing.T
	api *fake.Clientset
	r   *Reconciler

	mu       sync.Mutex
	requests []string                      // verb and name of each write
	fail     func(k8stesting.Action) error // injected before anything happens
	changes  []pod.Key                     // what OnChange was called with
	uids     int
}

func newWorld(t *testing.T, existing ...runtime.Object) *world {
	w := &world{T: t, api: fake.NewClientset(existing...)}
	w.api.PrependReactor("*", "pods", w.react)
	w.r = New(Options{Node: "n1", Log: slog.New(slog.DiscardHandler), OnChange: func(k pod.Key) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.changes = append(w.changes, k)
	}})
	return w
}

func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.follow(ctx, w.api.CoreV1())
	}()
	w.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
}

// follow runs the reconciler, fed by the source that feeds it on a node.
func (w *world) follow(ctx context.Context, client corev1.PodsGetter) {
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() {
		pods := source.API(source.APIOptions{Node: "n1", Also: w.r.Store(), Log: slog.New(slog.DiscardHandler)})
		pods.Run(ctx, w.api.CoreV1(), func(source.Snapshot) {})
	})
	w.r.Run(ctx, client)
}

func (w *world) react(a k8stesting.Action) (bool, runtime.Object, error) {
	w.mu.Lock()
	fail := w.fail
	w.mu.Unlock()
	if fail != nil {
		if err := fail(a); err != nil {
			return true, nil, err
		}
	}
	switch a := a.(type) {
	case k8stesting.CreateActionImpl:
		p := a.Object.(*v1.Pod)
		w.mu.Lock()
		w.uids++
		p.UID = types.UID(fmt.Sprintf("uid-%d", w.uids))
		p.ResourceVersion = fmt.Sprint(w.uids)
		w.mu.Unlock()
		w.note("create " + p.Name)
	case k8stesting.DeleteActionImpl:
		w.note("delete " + a.Name)
		return w.delete(a)
	}
	return false, nil, nil
}

func (w *world) delete(a k8stesting.DeleteActionImpl) (bool, runtime.Object, error) {
	if g := a.DeleteOptions.GracePeriodSeconds; g == nil || *g != 0 {
		w.Errorf("SP-52 %s deleted with grace %v", a.Name, g)
	}
	obj, err := w.api.Tracker().Get(a.Resource, a.Namespace, a.Name)
	if err != nil {
		return true, nil, err
	}
	pre := a.DeleteOptions.Preconditions
	if pre == nil || pre.UID == nil {
		w.Errorf("SP-52 %s deleted without a UID", a.Name)
	} else if obj.(*v1.Pod).UID != *pre.UID {
		return true, nil, apierrors.NewConflict(a.Resource.GroupResource(), a.Name, errors.New("another UID"))
	}
	return false, nil, nil
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = append(w.requests, what)
}

// took returns the writes since the last call, once all is quiet. No time
// passes in it: what it returns happened at once.
func (w *world) took() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.requests, ", ")
	w.requests = nil
	return all
}

func (w *world) want(what, requests string) {
	w.Helper()
	if got := w.took(); got != requests {
		w.Errorf("%s: %q, want %q", what, got, requests)
	}
}

func (w *world) get(name string) *v1.Pod {
	w.Helper()
	p, err := w.api.CoreV1().Pods("ns").Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) failWith(err error, verbs ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail = nil
	if err != nil {
		w.fail = func(a k8stesting.Action) error {
			if slices.Contains(verbs, a.GetVerb()) {
				return err
			}
			return nil
		}
	}
}

func node(uid string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: types.UID(uid)}}
}

func static(name, hash string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, UID: types.UID(hash), Labels: map[string]string{"a": "b"},
			Annotations: map[string]string{pod.ConfigHash: hash, pod.ConfigSource: pod.SourceFile, pod.ConfigSeen: "then"},
		},
		Spec: v1.PodSpec{NodeName: "n1", Containers: []v1.Container{{Name: "c", Image: "i"}}},
	}
}

// force deletes like kubectl delete --force.
func force(p *v1.Pod) metav1.DeleteOptions {
	return metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(p.UID)),
	}
}

// mirrorOf returns a mirror as an earlier run would have left it.
func mirrorOf(s *v1.Pod, uid string) *v1.Pod {
	m := picture(s, "node-uid")
	m.UID = types.UID(uid)
	m.ResourceVersion = "7"
	return m
}
