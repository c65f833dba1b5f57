package node

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// watch follows this node's own object until ctx ends.
func (k *Keeper) watch(ctx context.Context, client API) {
	me := fields.OneTermEqualSelector("metadata.name", k.o.Name).String()
	nodes := client.CoreV1().Nodes()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = me
			return nodes.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = me
			return nodes.Watch(ctx, o)
		},
	}
	cache.NewReflectorWithOptions(plainList{lw}, &v1.Node{}, store{k},
		cache.ReflectorOptions{Name: "node", Backoff: &wait.Backoff{
			// Shorter than client-go's: an API server that just came up should not be kept waiting.
			Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.5, Steps: 12, Cap: 10 * time.Second,
		}}).RunWithContext(klog.NewContext(ctx, logr.Discard())) // step says that the API does not answer
}

// A plainList is listed by an ordinary list: it is short, and streaming it
// would make boot wait for a bookmark.
type plainList struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how client-go asks.
func (plainList) IsWatchListSemanticsUnSupported() bool { return true }

// A store is what client-go's reflector writes nodes to. It keeps one.
type store struct{ k *Keeper }

// Add takes a node that is new.
func (s store) Add(obj any) error { return s.Update(obj) }

// Update takes a node that changed. A Keeper that has not registered yet looks
// for itself.
func (s store) Update(obj any) error {
	if n, ok := obj.(*v1.Node); ok && s.k.Node() != nil {
		s.k.seen(n)
	}
	return nil
}

// Delete takes a node that is gone.
func (s store) Delete(any) error {
	s.k.doubt()
	return nil
}

// Replace takes everything there is.
func (s store) Replace(list []any, _ string) error {
	if len(list) == 0 {
		s.k.doubt()
		return nil
	}
	return s.Update(list[0])
}

// Resync has no meaning for this store.
func (store) Resync() error { return nil }
