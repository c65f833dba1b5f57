// Package follow keeps up with objects of the API: one list, then a watch, for as
// long as somebody wants to know.
//
// It decides how they are listed and how soon an API server that does not answer
// is asked again. What is kept of the objects is left to the store they are
// written to.
package follow

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// A Resource is a kind of objects of the API, as client-go's typed clients are.
type Resource[L runtime.Object] interface {
	List(ctx context.Context, o metav1.ListOptions) (L, error)
	Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error)
}

// Options say which objects are followed. The zero value follows all of them.
type Options struct {
	// Name is what client-go calls them.
	Name string
	// Fields selects some of them: Field makes it. "": all.
	Fields string
	// Cap is the longest pause before an API server that does not answer is asked
	// again. It is shorter than client-go's, since one that just came up should
	// not be kept waiting. 0: 10 s.
	Cap time.Duration
	// Failed is told why they cannot be listed, once for each reason. It must not
	// block. May be nil.
	Failed func(err error)
}

// Field selects the objects that have a value in a field.
func Field(name, value string) string { return fields.OneTermEqualSelector(name, value).String() }

// Run writes objects of the kind of example to a store until ctx ends, which owns
// them from then on.
func Run[L runtime.Object](ctx context.Context, from Resource[L], example runtime.Object, to cache.ReflectorStore, o Options) {
	failed := once(o.Failed)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, lo metav1.ListOptions) (runtime.Object, error) {
			lo.FieldSelector = o.Fields
			list, err := from.List(ctx, lo)
			failed(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, lo metav1.ListOptions) (watch.Interface, error) {
			lo.FieldSelector = o.Fields
			return from.Watch(ctx, lo)
		},
	}
	longest := o.Cap
	if longest == 0 {
		longest = 10 * time.Second
	}
	cache.NewReflectorWithOptions(plainList{lw}, example, to, cache.ReflectorOptions{
		Name:    o.Name,
		Backoff: &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.5, Steps: 12, Cap: longest},
	}).RunWithContext(klog.NewContext(ctx, logr.Discard())) // Failed hears what is worth saying
}

// once returns a function that tells each reason once, until another one or none
// comes between.
func once(tell func(error)) func(error) {
	var mu sync.Mutex
	said := ""
	return func(err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		mu.Lock()
		news := text != said
		said = text
		mu.Unlock()
		if news && err != nil && tell != nil {
			tell(err)
		}
	}
}

// A plainList is listed by an ordinary list: it is short, and streaming it would
// make those who wait for it wait for a bookmark, too.
type plainList struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is how client-go asks.
func (plainList) IsWatchListSemanticsUnSupported() bool { return true }
