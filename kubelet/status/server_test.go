package status_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/status"
)

var (
	podsResource = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	statuses     = schema.GroupResource{Resource: "pods"}
)

// A server is an API server with mirrors in it, and what a Writer sends to it.
type server struct {
	t       *testing.T
	clients *fake.Clientset
	w       *status.Writer

	mu    sync.Mutex
	fault error // what every patch is answered with
	sent  int
}

// serve starts a Writer against a server with the given mirrors.
func serve(t *testing.T, o status.WriterOptions, mirrors ...*v1.Pod) *server {
	t.Helper()
	s := &server{t: t, clients: fake.NewClientset()}
	s.clients.PrependReactor("patch", "pods", s.patch)
	s.clients.PrependReactor("delete", "pods", s.delete)
	for _, m := range mirrors {
		s.create(m)
	}
	o.Mirrors, o.Logger = s, slog.New(slog.DiscardHandler)
	s.w = status.NewWriter(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		s.w.Run(ctx, status.Client(s.clients.CoreV1()))
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

// patch counts, fails, and refuses a patch of another UID as the API does.
func (s *server) patch(a ktesting.Action) (bool, runtime.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	if s.fault != nil {
		return true, nil, s.fault
	}
	p := a.(ktesting.PatchAction)
	if p.GetSubresource() != "status" || p.GetPatchType() != types.StrategicMergePatchType {
		s.t.Errorf("%s patch of %q", p.GetPatchType(), p.GetSubresource())
	}
	var body v1.Pod
	if err := json.Unmarshal(p.GetPatch(), &body); err != nil {
		s.t.Error(err)
	}
	if m := s.get(p.GetNamespace(), p.GetName()); m != nil && m.UID != body.UID {
		return true, nil, apierrors.NewConflict(statuses, p.GetName(), errors.New("the UID is another one"))
	}
	return false, nil, nil
}

// delete refuses to delete another pod than the one that was meant, as the API
// does.
func (s *server) delete(a ktesting.Action) (bool, runtime.Object, error) {
	d := a.(ktesting.DeleteActionImpl)
	m := s.get(d.GetNamespace(), d.GetName())
	if grace := d.DeleteOptions.GracePeriodSeconds; grace == nil || *grace != 0 {
		s.t.Errorf("a grace of %v", grace)
	}
	if m != nil && m.UID != *d.DeleteOptions.Preconditions.UID {
		return true, nil, apierrors.NewConflict(statuses, d.GetName(), errors.New("the UID is another one"))
	}
	return false, nil, nil
}

func (s *server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

// requests returns how many were sent since the last call.
func (s *server) requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.sent
	s.sent = 0
	return n
}

func (s *server) get(namespace, name string) *v1.Pod {
	o, err := s.clients.Tracker().Get(podsResource, namespace, name)
	if err != nil {
		return nil
	}
	return o.(*v1.Pod)
}

func (s *server) create(m *v1.Pod) {
	s.t.Helper()
	if err := s.clients.Tracker().Create(podsResource, m.DeepCopy(), m.Namespace); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) remove(m *v1.Pod) {
	s.t.Helper()
	if err := s.clients.Tracker().Delete(podsResource, m.Namespace, m.Name); err != nil {
		s.t.Fatal(err)
	}
}

// UIDFor and Pod make the server the Mirrors of its Writer: one that hears of
// everything at once.
func (s *server) UIDFor(p *v1.Pod) (types.UID, bool) {
	if m := s.get(p.Namespace, p.Name); m != nil {
		return m.UID, true
	}
	return "", false
}

func (s *server) Pod(key pod.Key) (*v1.Pod, bool) {
	m := s.get(key.Namespace, key.Name)
	return m, m != nil
}

// phase returns what the server holds of the pod.
func (s *server) phase(p *v1.Pod) v1.PodPhase {
	if m := s.get(p.Namespace, p.Name); m != nil {
		return m.Status.Phase
	}
	return "no pod"
}

func (s *server) set(p *v1.Pod, phase v1.PodPhase) { s.w.Set(p, v1.PodStatus{Phase: phase}) }

// settle lets everything happen that happens at once.
func (s *server) settle() { synctest.Wait() }

func (s *server) expect(p *v1.Pod, want v1.PodPhase) {
	s.t.Helper()
	synctest.Wait()
	if got := s.phase(p); got != want {
		s.t.Errorf("the server holds %q, want %q", got, want)
	}
}

func staticPod(name string) *v1.Pod {
	p := &v1.Pod{}
	p.Namespace, p.Name, p.UID = "kube-system", name, types.UID("static-"+name)
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
	return p
}

func mirrorOf(p *v1.Pod, uid types.UID) *v1.Pod {
	m := &v1.Pod{}
	m.Namespace, m.Name, m.UID = p.Namespace, p.Name, uid
	m.Status.Phase, m.Status.QOSClass = v1.PodPending, v1.PodQOSBurstable
	return m
}
