package source

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"

	"boot.internal/kubelet/follow"
	"boot.internal/kubelet/pod"
)

// APIOptions say which pods of the API are wanted here.
type APIOptions struct {
	Node string // name of this node
	// Also hears of every pod of the node, mirrors among them, before the origin
	// yields what follows from it. It keeps nothing of what it is given but may
	// share it. May be nil.
	Also cache.ReflectorStore
	Log  *slog.Logger
}

// APIPods is the origin of the pods that the API assigns to this node.
type APIPods struct {
	o    APIOptions
	news chan struct{} // capacity 1: many changes before a look are one

	mu     sync.Mutex // guards all below
	pods   map[pod.Key]*v1.Pod
	listed bool
}

// API returns the origin of the API's pods. Mirrors are among them: a Merge
// drops them.
func API(o APIOptions) *APIPods {
	return &APIPods{o: o, news: make(chan struct{}, 1), pods: map[pod.Key]*v1.Pod{}}
}

// Run follows the pods of the node by one list and watch, and sends all of them
// whenever one has changed, until ctx ends. While the API does not answer, what
// it said last holds.
func (a *APIPods) Run(ctx context.Context, client corev1.PodsGetter, send func(Snapshot)) {
	var life sync.WaitGroup
	defer life.Wait()
	life.Go(func() { a.watch(ctx, client.Pods(metav1.NamespaceAll)) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.news:
			send(Snapshot{Origin: pod.SourceAPI, Pods: a.all()})
		}
	}
}

// all returns the pods, the oldest first: where there is not room for all after
// a restart, who was first stays.
func (a *APIPods) all() []*v1.Pod {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := make([]*v1.Pod, 0, len(a.pods))
	for _, p := range a.pods {
		all = append(all, p)
	}
	slices.SortFunc(all, func(x, y *v1.Pod) int {
		if c := x.CreationTimestamp.Compare(y.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(pod.KeyOf(x).String(), pod.KeyOf(y).String())
	})
	return all
}

func (a *APIPods) watch(ctx context.Context, pods corev1.PodInterface) {
	follow.Run(ctx, pods, &v1.Pod{}, apiStore{a}, follow.Options{
		Name: "pods", Fields: follow.Field("spec.nodeName", a.o.Node), Cap: 4 * time.Second,
		Failed: func(err error) { a.o.Log.Warn("cannot list pods of this node", slog.Any("err", err)) },
	})
}

// An apiStore is what client-go's reflector writes pods to.
type apiStore struct{ a *APIPods }

// Add takes a pod that is new.
func (s apiStore) Add(obj any) error { return s.Update(obj) }

// Update takes a pod that changed.
func (s apiStore) Update(obj any) error {
	if p, ok := obj.(*v1.Pod); ok {
		s.a.mu.Lock()
		s.a.put(s.a.pods, p)
		s.a.mu.Unlock()
	}
	defer s.a.changed()
	if s.a.o.Also != nil {
		return s.a.o.Also.Update(obj)
	}
	return nil
}

// Delete takes a pod that is gone.
func (s apiStore) Delete(obj any) error {
	if p, ok := obj.(*v1.Pod); ok {
		s.a.mu.Lock()
		delete(s.a.pods, pod.KeyOf(p))
		s.a.mu.Unlock()
	}
	defer s.a.changed()
	if s.a.o.Also != nil {
		return s.a.o.Also.Delete(obj)
	}
	return nil
}

// Replace takes everything there is.
func (s apiStore) Replace(list []any, version string) error {
	fresh := make(map[pod.Key]*v1.Pod, len(list))
	s.a.mu.Lock()
	for _, obj := range list {
		if p, ok := obj.(*v1.Pod); ok {
			s.a.put(fresh, p)
		}
	}
	s.a.pods, s.a.listed = fresh, true
	s.a.mu.Unlock()
	defer s.a.changed()
	if s.a.o.Also != nil {
		return s.a.o.Also.Replace(list, version)
	}
	return nil
}

// Resync has no meaning for this store.
func (apiStore) Resync() error { return nil }

// put notes a pod of the API, marked as one: its sandbox tells by that whose it
// is, also to a later process. A version that is known already stays, so that it
// is seen to be the same.
func (a *APIPods) put(pods map[pod.Key]*v1.Pod, heard *v1.Pod) {
	key := pod.KeyOf(heard)
	old := a.pods[key]
	if old != nil && old.UID == heard.UID && old.ResourceVersion == heard.ResourceVersion {
		pods[key] = old
		return
	}
	p := *heard           // what is heard is others' as well
	p.ManagedFields = nil // nobody here looks at it
	if !pod.IsMirror(&p) {
		p.Annotations = marked(p.Annotations, seen(old, p.UID))
	}
	pods[key] = &p
}

// seen returns when the pod was first heard of.
func seen(old *v1.Pod, uid types.UID) string {
	if old != nil && old.UID == uid {
		return old.Annotations[pod.ConfigSeen]
	}
	return time.Now().Format(time.RFC3339Nano)
}

func marked(annotations map[string]string, seen string) map[string]string {
	all := make(map[string]string, len(annotations)+2)
	maps.Copy(all, annotations)
	all[pod.ConfigSource], all[pod.ConfigSeen] = pod.SourceAPI, seen
	return all
}

// changed makes Run yield all pods, once there are all. It never blocks.
func (a *APIPods) changed() {
	a.mu.Lock()
	listed := a.listed
	a.mu.Unlock()
	if !listed {
		return
	}
	select {
	case a.news <- struct{}{}:
	default:
	}
}
