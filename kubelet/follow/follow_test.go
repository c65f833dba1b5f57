package follow

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// pods are a Resource that can be out of order.
type pods struct {
	mu     sync.Mutex
	err    error
	fields []string // asked for
	news   *watch.FakeWatcher
	asked  chan struct{} // something each time
}

func (p *pods) List(_ context.Context, o metav1.ListOptions) (*v1.PodList, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fields = append(p.fields, o.FieldSelector)
	select {
	case p.asked <- struct{}{}:
	default:
	}
	if p.err != nil {
		return nil, p.err
	}
	return &v1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []v1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "a"}}}}, nil
}

func (p *pods) Watch(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fields = append(p.fields, o.FieldSelector)
	return p.news, nil
}

// await waits until they were listed a number of times.
func (p *pods) await(times int) {
	for range times {
		<-p.asked
	}
}

func (p *pods) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

// names are a store that tells the names it is given.
type names chan string

func (n names) Add(obj any) error {
	n <- obj.(*v1.Pod).Name
	return nil
}
func (n names) Update(obj any) error { return n.Add(obj) }
func (n names) Delete(any) error     { return nil }
func (n names) Resync() error        { return nil }
func (n names) Replace(list []any, _ string) error {
	for _, obj := range list {
		_ = n.Add(obj)
	}
	return nil
}

// An API server that is not there yet is asked again soon, and each reason is told
// once; then all that is selected is followed.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	from, to, told := &pods{err: errors.New("refused"), news: watch.NewFake(), asked: make(chan struct{}, 10)}, make(names, 10), make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(ctx, from, &v1.Pod{}, to, Options{
			Name: "pods", Fields: Field("spec.nodeName", "n"), Cap: time.Second, Failed: func(err error) { told <- err.Error() },
		})
	}()
	next := func(c <-chan string, want string) {
		t.Helper()
		select {
		case got := <-c:
			if got != want {
				t.Fatalf("%q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no %q", want)
		}
	}
	next(told, "refused")
	from.await(3)
	from.fail(errors.New("forbidden"))
	next(told, "forbidden")
	from.fail(nil)
	next(to, "a")
	from.news.Add(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "b", ResourceVersion: "2"}})
	next(to, "b")
	cancel()
	<-done
	if slices.ContainsFunc(from.fields, func(f string) bool { return f != "spec.nodeName=n" }) {
		t.Errorf("asked for %v", from.fields)
	}
}
