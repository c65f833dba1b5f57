package fake

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A sandbox is ready from its making until it is stopped or lost.
type sandbox struct {
	id      string
	config  *cri.PodSandboxConfig
	handler string
	ready   bool
	created int64
	ip      string // "" on the host network, and once it is no longer ready
}

// RunPodSandbox makes a sandbox that is ready.
func (s *server) RunPodSandbox(_ context.Context, r *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := r.GetConfig().GetMetadata()
	if m.GetName() == "" || m.GetUid() == "" {
		return nil, status.Error(codes.InvalidArgument, "sandbox config has no name or UID")
	}
	for _, b := range s.sandboxes {
		if have := b.config.Metadata; have.Uid == m.Uid && have.Attempt == m.Attempt && have.Name == m.Name && have.Namespace == m.Namespace {
			return nil, status.Errorf(codes.Unknown, "name is reserved for %q", b.id)
		}
	}
	b := &sandbox{id: s.id("sandbox"), config: r.Config, handler: r.RuntimeHandler, ready: true, created: s.now()}
	if b.network() != cri.NamespaceMode_NODE {
		if !s.networkUp {
			return nil, status.Error(codes.Unknown, "network is not ready")
		}
		b.ip = fmt.Sprintf("10.88.%d.%d", s.serial/250, s.serial%250+2)
	}
	s.sandboxes = append(s.sandboxes, b)
	s.send(cri.ContainerEventType_CONTAINER_CREATED_EVENT, b.id, b)
	s.send(cri.ContainerEventType_CONTAINER_STARTED_EVENT, b.id, b)
	return &cri.RunPodSandboxResponse{PodSandboxId: b.id}, nil
}

// StopPodSandbox kills what runs in a sandbox and takes its network down.
func (s *server) StopPodSandbox(_ context.Context, r *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.sandbox(r.PodSandboxId)
	if b == nil {
		return nil, notFound("sandbox", r.PodSandboxId)
	}
	s.end(b)
	return &cri.StopPodSandboxResponse{}, nil
}

// end makes a sandbox not ready, with all in it. mu must be held.
func (s *server) end(b *sandbox) {
	for _, c := range s.containers {
		if c.sandbox == b.id {
			s.exit(c, killed, "")
		}
	}
	if b.ready {
		b.ready, b.ip = false, ""
		s.send(cri.ContainerEventType_CONTAINER_STOPPED_EVENT, b.id, b)
	}
}

// RemovePodSandbox removes a sandbox and all in it. Removing one that is not
// there is no error.
func (s *server) RemovePodSandbox(_ context.Context, r *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.sandbox(r.PodSandboxId)
	if b == nil {
		return &cri.RemovePodSandboxResponse{}, nil
	}
	s.end(b)
	for _, c := range slices.Clone(s.containers) {
		if c.sandbox == b.id {
			s.remove(c)
		}
	}
	s.sandboxes = slices.DeleteFunc(s.sandboxes, func(have *sandbox) bool { return have == b })
	s.send(cri.ContainerEventType_CONTAINER_DELETED_EVENT, b.id, nil)
	return &cri.RemovePodSandboxResponse{}, nil
}

// ListPodSandbox lists sandboxes.
func (s *server) ListPodSandbox(_ context.Context, r *cri.ListPodSandboxRequest) (*cri.ListPodSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListPodSandboxResponse{}
	for _, b := range s.sandboxes {
		if f := r.GetFilter(); match(b.config.Labels, f.GetLabelSelector()) && (f.GetId() == "" || f.GetId() == b.id) {
			out.Items = append(out.Items, &cri.PodSandbox{
				Id: b.id, Metadata: b.config.Metadata, State: b.state(), CreatedAt: b.created,
				Labels: b.config.Labels, Annotations: b.config.Annotations, RuntimeHandler: b.handler,
			})
		}
	}
	return out, nil
}

// PodSandboxStatus tells of a sandbox.
func (s *server) PodSandboxStatus(_ context.Context, r *cri.PodSandboxStatusRequest) (*cri.PodSandboxStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.sandbox(r.PodSandboxId)
	if b == nil {
		return nil, notFound("sandbox", r.PodSandboxId)
	}
	return &cri.PodSandboxStatusResponse{Status: b.status()}, nil
}

// sandbox returns the one with the ID, or nil. mu must be held.
func (s *server) sandbox(id string) *sandbox {
	for _, b := range s.sandboxes {
		if b.id == id {
			return b
		}
	}
	return nil
}

func (b *sandbox) network() cri.NamespaceMode {
	return b.config.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork()
}

func (b *sandbox) state() cri.PodSandboxState {
	if b.ready {
		return cri.PodSandboxState_SANDBOX_READY
	}
	return cri.PodSandboxState_SANDBOX_NOTREADY
}

func (b *sandbox) status() *cri.PodSandboxStatus {
	return &cri.PodSandboxStatus{
		Id: b.id, Metadata: b.config.Metadata, State: b.state(), CreatedAt: b.created,
		Network:     &cri.PodSandboxNetworkStatus{Ip: b.ip},
		Labels:      b.config.Labels,
		Annotations: b.config.Annotations,
		Linux: &cri.LinuxPodSandboxStatus{Namespaces: &cri.Namespace{
			Options: b.config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
		}},
		RuntimeHandler: b.handler,
	}
}
