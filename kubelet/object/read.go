package object

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// freshWithin bounds a look at the API server where an older value would do.
const freshWithin = 2 * time.Second

// errNoAPI is why nothing is known before there is an API server.
var errNoAPI = errors.New("no API server yet")

// Secret returns a Secret as it is now, or as it was heard of last while the
// API server is away. It waits for one that was never heard of, but not longer
// than Options.Wait. Where there is none, and where the API server refuses it,
// the error says so to apierrors. The Secret is shared and must not be changed;
// of its metadata, only what identifies it is kept.
func (s *Store) Secret(ctx context.Context, namespace, name string) (*v1.Secret, error) {
	o, err := s.get(ctx, ref{secret, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.Secret), nil
}

// ConfigMap returns a ConfigMap, in the way of Secret.
func (s *Store) ConfigMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	o, err := s.get(ctx, ref{configMap, namespace, name})
	if err != nil {
		return nil, err
	}
	return o.(*v1.ConfigMap), nil
}

// get returns what a ref names. What no pod names is read and not remembered.
func (s *Store) get(ctx context.Context, r ref) (object, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Wait)
	defer cancel()
	s.mu.Lock()
	e := s.entries[r]
	s.mu.Unlock()
	if e == nil {
		return s.read(ctx, r)
	}
	select {
	case <-e.answered:
	case <-ctx.Done():
		return nil, s.unanswered(ctx, e)
	}
	s.freshen(ctx, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.object == nil {
		e.missed = e.missed || !e.known
		return nil, e.err
	}
	return e.object, nil
}

// unanswered says why nothing is known of e, with the last reason there was.
func (s *Store) unanswered(ctx context.Context, e *entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.missed = true
	err := e.err
	switch {
	case err == nil && s.client == nil:
		err = errNoAPI
	case err == nil:
		err = ctx.Err()
	}
	return fmt.Errorf("failed to sync %s cache: %w", e.ref.kind, err) // upstream's words: people search for them
}

// freshen looks at the API server where a pod came to use the object after the
// last look: the watch may lag behind what the pod was made to find.
func (s *Store) freshen(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, freshWithin)
	defer cancel()
	select {
	case e.reading <- struct{}{}:
		defer func() { <-e.reading }()
	case <-ctx.Done():
		return
	}
	s.mu.Lock()
	stale, holds := e.known && e.fresh < e.holds, e.holds
	s.mu.Unlock()
	if !stale {
		return
	}
	if err := s.take(ctx, e); err == nil || ctx.Err() != nil || apierrors.ReasonForError(err) == metav1.StatusReasonUnknown {
		s.note(e, holds) // the watch tells the rest once there is an API server again
	}
}

// look reads e for the first time, or again where a watch ended.
func (s *Store) look(ctx context.Context, e *entry) error {
	s.mu.Lock()
	holds := e.holds
	s.mu.Unlock()
	err := s.take(ctx, e)
	if err == nil {
		s.note(e, holds)
	}
	return err
}

// take reads what e names and keeps it. That there is none is an answer, too.
func (s *Store) take(ctx context.Context, e *entry) error {
	o, err := s.read(ctx, e.ref)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	s.set(e, o, err)
	return nil
}

// note notes that so many holds were followed by a look.
func (s *Store) note(e *entry, holds int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.fresh = max(e.fresh, holds)
}

// read reads one object from the API server.
func (s *Store) read(ctx context.Context, r ref) (object, error) {
	c := s.api()
	if c == nil {
		return nil, errNoAPI
	}
	if r.kind == secret {
		o, err := c.Secrets(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
		return answer(r, o, err)
	}
	o, err := c.ConfigMaps(r.namespace).Get(ctx, r.name, metav1.GetOptions{})
	return answer(r, o, err)
}

// answer puts what the API server says into upstream's words.
func answer(r ref, o object, err error) (object, error) {
	switch {
	case apierrors.IsNotFound(err):
		return nil, r.notFound()
	case err != nil:
		return nil, err
	}
	return o, nil
}
