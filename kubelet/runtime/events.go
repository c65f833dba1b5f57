package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// ErrNoEvents says that the runtime has no event stream, so that a relist is
// all there is.
var ErrNoEvents = errors.New("container runtime has no event stream")

// The event stream is opened again after firstRetry, then ever more slowly.
const (
	firstRetry   = 100 * time.Millisecond
	longestRetry = 5 * time.Second
)

// News is what an event of the runtime tells of a pod.
type News struct {
	Key pod.Key
	// ID is whose news it is, a sandbox's or a container's; "": something may have
	// happened to any of them.
	ID string
	// State is what has become of it at least: events are late, so that it may
	// have gone on from there. A sandbox that is ready runs; "": it is gone.
	State pod.State
}

// Events passes on each event of the runtime until ctx ends; then it returns
// nil. A stream that breaks is opened again, and since events may have been
// missed, there is news of every pod then. tell must not block.
func (r *Runtime) Events(ctx context.Context, tell func(News)) error {
	again := false
	for retry := firstRetry; ; retry = min(2*retry, longestRetry) {
		opened := time.Now()
		err := r.stream(ctx, again, tell)
		if ctx.Err() != nil {
			return nil
		}
		if status.Code(err) == codes.Unimplemented {
			return ErrNoEvents
		}
		if time.Since(opened) > longestRetry {
			retry = firstRetry
		}
		r.o.Log.Warn("runtime event stream broke", slog.Any("err", err))
		if sleep(ctx, retry) != nil {
			return nil
		}
		again = true
	}
}

// stream reads events until the stream breaks. Opened again, it begins with
// news of every pod: what happened from then on is in the stream.
func (r *Runtime) stream(ctx context.Context, again bool, tell func(News)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := r.o.CRI.GetContainerEvents(ctx, &cri.GetEventsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	if again {
		if err := r.tellAll(ctx, tell); err != nil {
			return err
		}
	}
	for {
		e, err := events.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("read event: the runtime ended the stream: %w", err)
		}
		if err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		r.dispatch(e, tell)
	}
}

func (r *Runtime) dispatch(e *cri.ContainerEventResponse, tell func(News)) {
	switch e.ContainerEventType {
	case cri.ContainerEventType_CONTAINER_STOPPED_EVENT, cri.ContainerEventType_CONTAINER_DELETED_EVENT:
		r.exits.tell(e.ContainerId)
	}
	if key, ok := eventKey(e); ok {
		tell(News{Key: key, ID: e.ContainerId, State: eventState(e.ContainerEventType)})
	}
}

// eventState returns what an event says has happened. What it shows of pod and
// containers is older or newer than that.
func eventState(t cri.ContainerEventType) pod.State {
	switch t {
	case cri.ContainerEventType_CONTAINER_CREATED_EVENT:
		return pod.Created
	case cri.ContainerEventType_CONTAINER_STARTED_EVENT:
		return pod.Running
	case cri.ContainerEventType_CONTAINER_STOPPED_EVENT:
		return pod.Exited
	case cri.ContainerEventType_CONTAINER_DELETED_EVENT:
		return ""
	default:
		return pod.Unknown
	}
}

// eventKey returns the pod of an event. One about a sandbox already removed
// does not say; its worker removed it and knows.
func eventKey(e *cri.ContainerEventResponse) (pod.Key, bool) {
	if key, ok := keyOf(e.GetPodSandboxStatus().GetLabels()); ok {
		return key, true
	}
	for _, c := range e.ContainersStatuses {
		if key, ok := keyOf(c.Labels); ok {
			return key, true
		}
	}
	return pod.Key{}, false
}

// tellAll says that there may be news of every pod the runtime has.
func (r *Runtime) tellAll(ctx context.Context, tell func(News)) error {
	all, err := r.Keys(ctx)
	if err != nil {
		return err
	}
	for key := range all {
		tell(News{Key: key})
	}
	return nil
}
