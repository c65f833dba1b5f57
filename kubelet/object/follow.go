package object

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"boot.internal/backoff"
)

// refusedFor is how long the API server may refuse an object before those who
// wait are told: it may hear of the pod, which gives the right to read it, a
// moment later than this node does.
const refusedFor = time.Second

// watchFor is the shortest time after which the API server ends a watch; the
// longest is twice that, so that they do not all end together.
const watchFor = 30 * time.Minute

// follow keeps what is known of e true until ctx ends, or until nothing can
// change any more.
func (s *Store) follow(ctx context.Context, e *entry) {
	var pause backoff.Backoff
	first, said := time.Now(), ""
	for pause.Pause(ctx) {
		began := time.Now()
		err := s.watch(ctx, e)
		if ctx.Err() != nil || errors.Is(err, errImmutable) {
			return
		}
		if err != nil {
			s.refuse(e, err, time.Since(first) >= refusedFor)
			if err.Error() != said {
				said = err.Error()
				s.o.Log.LogAttrs(ctx, slog.LevelDebug, "cannot follow an object", slog.String("object", e.ref.String()), slog.Any("err", err))
			}
		}
		pause = pause.After(time.Since(began))
	}
}

var errImmutable = errors.New("object is immutable")

// watch opens a watch, looks what there is, and then hears of every change
// until the watch ends. In this order nothing falls in between, and nobody has
// to wait for the API server's caches to catch up.
func (s *Store) watch(ctx context.Context, e *entry) error {
	w, err := s.openWatch(ctx, e.ref)
	if err != nil {
		return err
	}
	defer w.Stop()
	if err := s.look(ctx, e); err != nil {
		return err
	}
	for !s.fixed(e) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev, ok := <-w.ResultChan():
			if !ok {
				return nil
			}
			if err := s.hear(e, ev); err != nil {
				return err
			}
		}
	}
	return errImmutable
}

// openWatch watches one object from some state the API server knows on.
func (s *Store) openWatch(ctx context.Context, r ref) (apiwatch.Interface, error) {
	o := metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", r.name).String(),
		ResourceVersion: "0",
		TimeoutSeconds:  new(int64((watchFor + rand.N(watchFor)).Seconds())),
	}
	c := s.api()
	if r.kind == secret {
		return c.Secrets(r.namespace).Watch(ctx, o)
	}
	return c.ConfigMaps(r.namespace).Watch(ctx, o)
}

// hear takes one event of a watch.
func (s *Store) hear(e *entry, ev apiwatch.Event) error {
	switch ev.Type {
	case apiwatch.Error:
		return apierrors.FromObject(ev.Object)
	case apiwatch.Added, apiwatch.Modified, apiwatch.Deleted:
	default:
		return nil
	}
	o, ok := ev.Object.(object)
	if !ok || o.GetName() != e.ref.name {
		return nil
	}
	if ev.Type == apiwatch.Deleted {
		if !s.newer(e, o) {
			s.set(e, nil, e.ref.notFound())
		}
		return nil
	}
	s.set(e, o, nil)
	return nil
}

// newer reports whether e holds a newer object than o.
func (s *Store) newer(e *entry, o object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.older(o.GetResourceVersion())
}

func (s *Store) fixed(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.object != nil && immutable(e.object)
}

// refuse notes why nothing is heard of an object. What was known of it stays.
func (s *Store) refuse(e *entry, err error, final bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.known {
		return
	}
	e.err = err
	if final && apierrors.ReasonForError(err) != metav1.StatusReasonUnknown { // else the server is away
		e.answer()
	}
}

func (s *Store) api() Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

func (r ref) String() string { return fmt.Sprintf("%s %s/%s", r.kind, r.namespace, r.name) }

func (r ref) notFound() error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: string(r.kind)}, r.name)
}
