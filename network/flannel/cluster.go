package flannel

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// followNodes keeps what the nodes of the cluster say of themselves, until ctx
// ends. They come one by one, and of each only that is kept.
func (n *Network) followNodes(ctx context.Context, api corev1.CoreV1Interface) {
	nodes := api.Nodes()
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return nodes.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			return nodes.Watch(ctx, o)
		},
	}
	follow(ctx, lw, &v1.Node{}, nodeStore{n})
}

// followConf keeps what the cluster says of its pod network, until ctx ends.
func (n *Network) followConf(ctx context.Context, api corev1.CoreV1Interface) {
	maps := api.ConfigMaps(ConfNamespace)
	name := fields.OneTermEqualSelector("metadata.name", ConfName).String()
	lw := plainList{&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = name
			return maps.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			o.FieldSelector = name
			return maps.Watch(ctx, o)
		},
	}}
	follow(ctx, lw, &v1.ConfigMap{}, confStore{n})
}

// follow runs a reflector. In a cluster whose pod network is not ours it is
// refused for good, which is not worth a word.
func follow(ctx context.Context, lw cache.ListerWatcher, of runtime.Object, store cache.ReflectorStore) {
	cache.NewReflectorWithOptions(lw, of, store, cache.ReflectorOptions{Backoff: &wait.Backoff{
		// Shorter than client-go's: the first pods of a cluster wait for it.
		Duration: 100 * time.Millisecond, Factor: 1.2, Jitter: 0.2, Steps: 30, Cap: 20 * time.Second,
	}}).RunWithContext(klog.NewContext(ctx, logr.Discard()))
}

// A plainList is listed by an ordinary list: it is short, and streaming it
// would make the first pods wait for a bookmark.
type plainList struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how client-go asks.
func (plainList) IsWatchListSemanticsUnSupported() bool { return true }

// A nodeStore is what client-go's reflector writes nodes to.
type nodeStore struct{ n *Network }

// Transformer has the reflector keep little of each node while it lists them.
func (nodeStore) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if node, ok := obj.(*v1.Node); ok {
			return essence(node), nil
		}
		return obj, nil
	}
}

// essence is what counts of a node: a few hundred bytes of many thousand.
func essence(n *v1.Node) *v1.Node {
	out := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion}}
	out.Spec.PodCIDRs = slices.Clone(n.Spec.PodCIDRs)
	for key, value := range n.Annotations {
		if len(key) > len(annotationPrefix) && key[:len(annotationPrefix)] == annotationPrefix {
			metav1.SetMetaDataAnnotation(&out.ObjectMeta, key, value)
		}
	}
	return out
}

// Add takes a node that is new.
func (s nodeStore) Add(obj any) error { return s.Update(obj) }

// Update takes a node that changed. Most changes are none here.
func (s nodeStore) Update(obj any) error {
	node, ok := obj.(*v1.Node)
	if !ok {
		return nil
	}
	node = essence(node)
	s.n.mu.Lock()
	old := s.n.nodes[node.Name]
	if s.n.nodes == nil {
		s.n.nodes = map[string]*v1.Node{}
	}
	s.n.nodes[node.Name] = node
	s.n.mu.Unlock()
	if old == nil || !slices.Equal(old.Spec.PodCIDRs, node.Spec.PodCIDRs) || !maps.Equal(old.Annotations, node.Annotations) {
		s.n.Poke()
	}
	return nil
}

// Delete takes a node that is gone.
func (s nodeStore) Delete(obj any) error {
	if node, ok := obj.(*v1.Node); ok {
		s.n.set(func() { delete(s.n.nodes, node.Name) })
	}
	return nil
}

// Replace takes all nodes there are.
func (s nodeStore) Replace(list []any, _ string) error {
	all := make(map[string]*v1.Node, len(list))
	for _, obj := range list {
		if node, ok := obj.(*v1.Node); ok {
			all[node.Name] = essence(node)
		}
	}
	s.n.set(func() { s.n.nodes = all })
	return nil
}

// Resync has no meaning for this store.
func (nodeStore) Resync() error { return nil }

// A confStore is what client-go's reflector writes the ConfigMap to.
type confStore struct{ n *Network }

// Add takes the ConfigMap when it is new.
func (s confStore) Add(obj any) error { return s.Update(obj) }

// Update takes the ConfigMap. One that cannot be read changes nothing.
func (s confStore) Update(obj any) error {
	m, ok := obj.(*v1.ConfigMap)
	if !ok {
		return nil
	}
	conf, err := ParseConf(m.Data[ConfKey])
	if err != nil {
		s.n.o.Log.Warn("cannot read how the cluster connects pods", slog.Any("err", err))
		return nil
	}
	s.n.set(func() { s.n.conf = &conf })
	return nil
}

// Delete is told that the ConfigMap is gone. What it said holds: nobody else has
// said otherwise, and pods talk by it.
func (confStore) Delete(any) error { return nil }

// Replace takes all there is: one ConfigMap or none.
func (s confStore) Replace(list []any, _ string) error {
	for _, obj := range list {
		if err := s.Update(obj); err != nil {
			return err
		}
	}
	return nil
}

// Resync has no meaning for this store.
func (confStore) Resync() error { return nil }

// announce writes on this node's object how it is reached.
func (n *Network) announce(ctx context.Context, api corev1.CoreV1Interface, me *v1.Node, as peer) error {
	patch, err := announcement(me.Annotations, as.announced(me.Annotations))
	if err != nil || patch == nil {
		return err
	}
	n.o.Log.LogAttrs(ctx, slog.LevelInfo, "tell other nodes how to reach pods here", slog.Any("annotations", json.RawMessage(patch)))
	_, err = api.Nodes().Patch(ctx, me.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
