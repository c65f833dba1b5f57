package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// A namespaces sink takes events of the namespaces there are.
type namespaces struct {
	err error // of those of others

	mu    sync.Mutex // guards what follows
	there map[string]bool
	got   []string
}

func (n *namespaces) Create(ev *v1.Event) (*v1.Event, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.there[ev.Namespace] {
		return nil, n.err
	}
	n.got = append(n.got, ev.Name)
	return ev, nil
}

func (n *namespaces) Update(ev *v1.Event) (*v1.Event, error)          { return ev, nil }
func (n *namespaces) Patch(ev *v1.Event, _ []byte) (*v1.Event, error) { return ev, nil }

func eventIn(namespace, name string) *v1.Event {
	return &v1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// Events of a namespace that is not there yet are written once it is, in order.
func TestEarlyEvents(t *testing.T) {
	notFound := apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "kube-system")
	synctest.Test(t, func(t *testing.T) {
		api := &namespaces{there: map[string]bool{"default": true}, err: notFound}
		s := newSink(api, func(*v1.Event) {}, slog.New(slog.DiscardHandler))
		go s.retry(t.Context())
		for _, ev := range []*v1.Event{eventIn("kube-system", "a"), eventIn("default", "b"), eventIn("kube-system", "c")} {
			if _, err := s.Create(ev); err != nil {
				t.Errorf("%s: %v", ev.Name, err)
			}
		}
		time.Sleep(5 * time.Second)
		api.mu.Lock()
		api.there["kube-system"] = true
		api.mu.Unlock()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(api.got) != 3 || api.got[0] != "b" || api.got[1] != "a" || api.got[2] != "c" {
			t.Errorf("written %q", api.got)
		}
		if _, err := s.Create(eventIn("gone", "d")); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if kept(s) > 0 {
			t.Error("it is kept for ever")
		}
		for range maxPending + 5 {
			if _, err := s.Create(eventIn("gone", "e")); err != nil {
				t.Error(err)
			}
		}
		if n := kept(s); n != maxPending {
			t.Errorf("%d are kept", n)
		}
		time.Sleep(time.Hour)
	})
}

func kept(s *sink) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// What the API has other reasons to refuse is client-go's to judge.
func TestRefusedEvents(t *testing.T) {
	api := &namespaces{err: errors.New("connection refused")}
	s := newSink(api, func(*v1.Event) {}, slog.New(slog.DiscardHandler))
	if _, err := s.Create(eventIn("a", "a")); !errors.Is(err, api.err) || len(s.held) > 0 {
		t.Errorf("error %v, %d kept", err, len(s.held))
	}
}

// An event waits while many pods start, but not for long.
func TestEventsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, rush := time.Now(), make(chan struct{})
		way := giveWay(t.Context(), func(ctx context.Context) {
			select {
			case <-rush:
			case <-ctx.Done():
			}
		})
		at := func(age time.Duration) time.Duration {
			way(&v1.Event{LastTimestamp: metav1.NewTime(time.Now().Add(-age))})
			return time.Since(begin)
		}
		if took := at(eventPatience); took > 0 {
			t.Errorf("an event that was old waited for %s", took)
		}
		if took := at(0); took != eventPatience {
			t.Errorf("an event waited for %s", took)
		}
		time.AfterFunc(time.Second, func() { close(rush) })
		if took := at(0); took != eventPatience+time.Second {
			t.Errorf("an event waited until %s, not for the end of the rush", took)
		}
	})
}

// So does one that has come again, which is counted up.
func TestEventsThatComeAgainGiveWay(t *testing.T) {
	var waited []string
	s := newSink(&namespaces{there: map[string]bool{"a": true}}, func(ev *v1.Event) { waited = append(waited, ev.Name) }, slog.New(slog.DiscardHandler))
	if _, err := s.Create(eventIn("a", "new")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Patch(eventIn("a", "again"), nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(waited, []string{"new", "again"}) {
		t.Errorf("these gave way: %q", waited)
	}
}
