package fake

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// backlog is how many events a stream keeps for a slow reader. What comes after
// is lost, as it may be with a real runtime.
const backlog = 1024

// GetContainerEvents sends what happens from now on.
func (s *server) GetContainerEvents(_ *cri.GetEventsRequest, stream cri.RuntimeService_GetContainerEventsServer) error {
	events, broken := make(chan *cri.ContainerEventResponse, backlog), make(chan struct{})
	s.mu.Lock()
	s.streams[events] = broken
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, events)
	}()
	for {
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-broken:
			return status.Error(codes.Unavailable, "the runtime went away")
		case e := <-events:
			if err := stream.Send(e); err != nil {
				return err
			}
		}
	}
}

// send tells all streams. As with containerd the event of a sandbox that is
// gone does not say which pod it was of. mu must be held.
func (s *server) send(kind cri.ContainerEventType, id string, b *sandbox) {
	e := &cri.ContainerEventResponse{ContainerId: id, ContainerEventType: kind, CreatedAt: time.Now().UnixNano()}
	if b != nil {
		e.PodSandboxStatus = b.status()
		for _, c := range s.containers {
			if c.sandbox == b.id {
				e.ContainersStatuses = append(e.ContainersStatuses, s.status(c))
			}
		}
	}
	for events := range s.streams {
		select {
		case events <- e:
		default:
		}
	}
}

// BreakEvents ends all event streams, as when the runtime restarts.
func (c *CRI) BreakEvents() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for events, broken := range c.s.streams {
		close(broken)
		delete(c.s.streams, events)
	}
}
