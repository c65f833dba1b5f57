// Package fake is a container runtime in memory that behaves: it keeps
// sandboxes, containers and images, refuses what a real one refuses, runs
// programs for as long as they say, honours grace periods, sends events and
// answers over CRI's own clients. It needs no network, and no files but those
// it is told to write; time is that of package time, so it lives in a
// testing/synctest bubble. Tests drive it through the methods of CRI: crash a
// container, lose a sandbox, make calls fail.
//
// It runs nothing, gives addresses of no network, and does not check mounts,
// resources or security.
package fake

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A CRI is the fake runtime. It is safe for concurrent use.
type CRI struct{ s *server }

// server answers the calls. It is a type of its own to keep the methods of the
// protocol apart from those for tests.
type server struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	mu         sync.Mutex // guards all below
	sandboxes  []*sandbox
	containers []*container
	images     []*cri.Image
	serial     int       // numbers IDs and addresses
	last       time.Time // newest CreatedAt given out
	streams    map[chan *cri.ContainerEventResponse]chan struct{}
	scripts    map[string][]Program
	exec       func(container string, command []string) (out string, code int32)
	faults     map[string][]fault
	calls      []Call
	networkUp  bool
}

// New returns a runtime with nothing on it but a network that is up. Images are
// there when they are asked for, see SetImages.
func New() *CRI {
	return &CRI{&server{
		streams:   map[chan *cri.ContainerEventResponse]chan struct{}{},
		scripts:   map[string][]Program{},
		faults:    map[string][]fault{},
		networkUp: true,
	}}
}

// Runtime returns a client of the runtime, as Dial would.
func (c *CRI) Runtime() cri.RuntimeServiceClient {
	return cri.NewRuntimeServiceClient(&conn{&cri.RuntimeService_ServiceDesc, c.s})
}

// Images returns a client for images, as Dial would.
func (c *CRI) Images() cri.ImageServiceClient {
	return cri.NewImageServiceClient(&conn{&cri.ImageService_ServiceDesc, c.s})
}

// id returns a new ID. mu must be held.
func (s *server) id(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s-%d", prefix, s.serial)
}

// now returns the time, later each time it is called: inside a bubble the clock
// stands still, but what is newer must look newer. mu must be held.
func (s *server) now() int64 {
	t := time.Now()
	if !t.After(s.last) {
		t = s.last.Add(1)
	}
	s.last = t
	return t.UnixNano()
}

func notFound(kind, id string) error {
	return status.Errorf(codes.NotFound, "%s %q not found", kind, id)
}

func match(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}
