package kubelet

import (
	"context"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"

	"boot.internal/backoff"
)

// A sink writes events to the API. While a cluster comes into being there is no
// namespace for some of them, or no right to write them: those are kept and
// written later. client-go would drop them.
type sink struct {
	record.EventSink
	logger  *slog.Logger
	giveWay func(*v1.Event) // returns when there is time for the event
	kept    chan struct{}   // capacity 1: something is kept

	mu   sync.Mutex  // guards held
	held []*v1.Event // oldest first, at most maxPending
}

func newSink(to record.EventSink, giveWay func(*v1.Event), logger *slog.Logger) *sink {
	return &sink{EventSink: to, logger: logger, giveWay: giveWay, kept: make(chan struct{}, 1)}
}

// Create writes an event, or keeps it for later, which is as good.
func (s *sink) Create(ev *v1.Event) (*v1.Event, error) {
	s.giveWay(ev)
	got, err := s.EventSink.Create(ev)
	if !early(err) {
		return got, err
	}
	later := ev.DeepCopy() // the event itself is the recorder's, which goes on reading it
	later.ResourceVersion = ""
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) == maxPending {
		s.held = s.held[1:]
	}
	s.held = append(s.held, later)
	select {
	case s.kept <- struct{}{}:
	default:
	}
	return ev, nil
}

// Patch counts up an event that has come again.
func (s *sink) Patch(ev *v1.Event, data []byte) (*v1.Event, error) {
	s.giveWay(ev)
	return s.EventSink.Patch(ev, data)
}

// early reports whether an error is one of a cluster that is not ready yet.
func early(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsForbidden(err) && !apierrors.HasStatusCause(err, v1.NamespaceTerminatingCause)
}

// Bounds of the wait for a cluster to be ready. Nobody tells a node of
// namespaces.
const (
	firstSinkWait = 250 * time.Millisecond
	lastSinkWait  = 30 * time.Second
	sinkTries     = 10 // a namespace that is not there by then is gone for good
)

// retry writes what was kept, until ctx ends.
func (s *sink) retry(ctx context.Context) {
	for {
		select {
		case <-s.kept:
		case <-ctx.Done():
			return
		}
		for try := range sinkTries {
			if !backoff.Sleep(ctx, min(firstSinkWait<<try, lastSinkWait)) {
				return
			}
			if s.flush() == 0 {
				break
			}
		}
		s.drop(ctx)
	}
}

// flush tries to write all that is kept, and returns how many are still.
func (s *sink) flush() int {
	s.mu.Lock()
	now := s.held
	s.held = nil
	s.mu.Unlock()
	var left []*v1.Event
	for _, ev := range now {
		if _, err := s.EventSink.Create(ev); early(err) {
			left = append(left, ev)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(left, s.held...)
	return len(s.held)
}

// drop gives up what could not be written.
func (s *sink) drop(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) > 0 {
		s.logger.LogAttrs(ctx, slog.LevelWarn, "events have no namespace", slog.Int("count", len(s.held)))
	}
	s.held = nil
}
