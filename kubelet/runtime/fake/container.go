package fake

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Exit codes of what SIGKILL ended, and of what never got to run.
const (
	killed      = 137
	startFailed = 128
)

// A container goes through the states of CRI:
//
//	created ──start──► running ──exit, stop, kill──► exited ──remove──► gone
//	   └─────────────────────── remove ───────────────────────────────────┘
type container struct {
	id       string
	sandbox  string // ID
	config   *cri.ContainerConfig
	logPath  string
	program  Program
	state    cri.ContainerState
	created  int64
	started  int64
	finished int64
	code     int32
	reason   string
	stopping bool          // the stop signal was sent
	exited   chan struct{} // closed when it has
}

// CreateContainer makes a container in a sandbox that is ready.
func (s *server) CreateContainer(_ context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.sandbox(r.PodSandboxId)
	if b == nil {
		return nil, notFound("sandbox", r.PodSandboxId)
	}
	if !b.ready {
		return nil, status.Errorf(codes.Unknown, "sandbox %q is not ready", b.id)
	}
	m := r.GetConfig().GetMetadata()
	for _, c := range s.containers {
		if have := c.config.Metadata; c.sandbox == b.id && have.Name == m.GetName() && have.Attempt == m.GetAttempt() {
			return nil, status.Errorf(codes.Unknown, "name is reserved for %q", c.id)
		}
	}
	if s.image(r.GetConfig().GetImage().GetImage()) == nil {
		return nil, notFound("image", r.GetConfig().GetImage().GetImage())
	}
	c := &container{
		id: s.id("container"), sandbox: b.id, config: r.Config, created: s.now(),
		logPath: filepath.Join(r.GetSandboxConfig().GetLogDirectory(), r.Config.LogPath),
		exited:  make(chan struct{}),
	}
	s.containers = append(s.containers, c)
	s.send(cri.ContainerEventType_CONTAINER_CREATED_EVENT, c.id, b)
	return &cri.CreateContainerResponse{ContainerId: c.id}, nil
}

// StartContainer runs the program of a container that was created.
func (s *server) StartContainer(_ context.Context, r *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.container(r.ContainerId)
	if c == nil {
		return nil, notFound("container", r.ContainerId)
	}
	if c.state != cri.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.Unknown, "container %q is in state %s", c.id, c.state)
	}
	c.program = s.programOf(c.config.Metadata.Name, append(slices.Clone(c.config.Command), c.config.Args...))
	c.state = cri.ContainerState_CONTAINER_RUNNING
	if c.program.Missing {
		s.exit(c, startFailed, "StartError")
		return nil, status.Errorf(codes.Unknown, "start container %q: no such file or directory", c.id)
	}
	c.started = s.now()
	if err := c.write(); err != nil {
		return nil, err
	}
	s.send(cri.ContainerEventType_CONTAINER_STARTED_EVENT, c.id, s.sandbox(c.sandbox))
	switch {
	case c.program.AtOnce:
		s.exit(c, c.program.Code, "")
	case c.program.Runs > 0:
		s.exitAfter(c, c.program.Runs, c.program.Code)
	}
	return &cri.StartContainerResponse{}, nil
}

// exitAfter ends a container unless it has ended by then.
func (s *server) exitAfter(c *container, d time.Duration, code int32) {
	timer := time.NewTimer(d)
	go func() {
		defer timer.Stop()
		select {
		case <-c.exited:
		case <-timer.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.exit(c, code, "")
		}
	}()
}

// exit ends a container that runs. mu must be held.
func (s *server) exit(c *container, code int32, reason string) {
	if c.state != cri.ContainerState_CONTAINER_RUNNING && c.state != cri.ContainerState_CONTAINER_UNKNOWN {
		return
	}
	c.state, c.code, c.finished, c.reason = cri.ContainerState_CONTAINER_EXITED, code, s.now(), reason
	if reason == "" {
		c.reason = "Error"
		if code == 0 {
			c.reason = "Completed"
		}
	}
	close(c.exited)
	s.send(cri.ContainerEventType_CONTAINER_STOPPED_EVENT, c.id, s.sandbox(c.sandbox))
}

// StopContainer asks a container to stop, waits for as long as it is told and
// kills it. A second call does not ask again, but may kill earlier.
func (s *server) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	c := s.askToStop(r.ContainerId, r.Timeout > 0)
	if c == nil {
		return &cri.StopContainerResponse{}, nil
	}
	timer := time.NewTimer(time.Duration(r.Timeout) * time.Second)
	defer timer.Stop()
	select {
	case <-c.exited:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		s.mu.Lock()
		s.exit(c, killed, "")
		s.mu.Unlock()
	}
	return &cri.StopContainerResponse{}, nil
}

// askToStop returns the container to wait for, nil if it does not run.
func (s *server) askToStop(id string, signal bool) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.container(id)
	if c == nil || c.state != cri.ContainerState_CONTAINER_RUNNING && c.state != cri.ContainerState_CONTAINER_UNKNOWN {
		return nil
	}
	if !signal || c.stopping {
		return c
	}
	c.stopping = true
	switch p := c.program; {
	case p.IgnoreTerm, ignored(c.config.StopSignal):
	case p.StopTakes == 0:
		s.exit(c, p.StopCode, "")
	default:
		s.exitAfter(c, p.StopTakes, p.StopCode)
	}
	return c
}

// ignored reports whether a signal does nothing to a process that does not ask
// for it.
func ignored(s cri.Signal) bool {
	switch s {
	case cri.Signal_SIGNAL_SIGWINCH, cri.Signal_SIGNAL_SIGURG, cri.Signal_SIGNAL_SIGCHLD, cri.Signal_SIGNAL_SIGCONT:
		return true
	}
	return false
}

// RemoveContainer removes a container, and kills it before if need be.
func (s *server) RemoveContainer(_ context.Context, r *cri.RemoveContainerRequest) (*cri.RemoveContainerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.container(r.ContainerId); c != nil {
		s.exit(c, killed, "")
		s.remove(c)
	}
	return &cri.RemoveContainerResponse{}, nil
}

// remove forgets a container. mu must be held.
func (s *server) remove(c *container) {
	s.containers = slices.DeleteFunc(s.containers, func(have *container) bool { return have == c })
	s.send(cri.ContainerEventType_CONTAINER_DELETED_EVENT, c.id, s.sandbox(c.sandbox))
}

// ListContainers lists containers.
func (s *server) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListContainersResponse{}
	for _, c := range s.containers {
		f := r.GetFilter()
		if match(c.config.Labels, f.GetLabelSelector()) && (f.GetId() == "" || f.GetId() == c.id) &&
			(f.GetPodSandboxId() == "" || f.GetPodSandboxId() == c.sandbox) {
			out.Containers = append(out.Containers, &cri.Container{
				Id: c.id, PodSandboxId: c.sandbox, Metadata: c.config.Metadata, Image: c.config.Image,
				ImageRef: c.config.Image.Image, ImageId: c.config.Image.Image, State: c.state, CreatedAt: c.created,
				Labels: c.config.Labels, Annotations: c.config.Annotations,
			})
		}
	}
	return out, nil
}

// ContainerStatus tells of a container.
func (s *server) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.container(r.ContainerId)
	if c == nil {
		return nil, notFound("container", r.ContainerId)
	}
	return &cri.ContainerStatusResponse{Status: s.status(c)}, nil
}

// status returns the status of c. mu must be held.
func (s *server) status(c *container) *cri.ContainerStatus {
	out := &cri.ContainerStatus{
		Id: c.id, Metadata: c.config.Metadata, State: c.state,
		CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.finished,
		ExitCode: c.code, Reason: c.reason, Image: c.config.Image, ImageRef: c.config.Image.Image, ImageId: c.config.Image.Image,
		Labels: c.config.Labels, Annotations: c.config.Annotations, Mounts: c.config.Mounts, LogPath: c.logPath,
		Resources: &cri.ContainerResources{Linux: c.config.GetLinux().GetResources()},
		User:      &cri.ContainerUser{},
	}
	if image := s.image(c.config.Image.Image); image != nil && len(image.RepoDigests) > 0 {
		out.ImageRef = image.RepoDigests[0]
	}
	return out
}

// container returns the one with the ID, or nil. mu must be held.
func (s *server) container(id string) *container {
	for _, c := range s.containers {
		if c.id == id {
			return c
		}
	}
	return nil
}

// ExecSync runs a command in a container that runs.
func (s *server) ExecSync(ctx context.Context, r *cri.ExecSyncRequest) (*cri.ExecSyncResponse, error) {
	s.mu.Lock()
	c, exec := s.container(r.ContainerId), s.exec
	running := c != nil && c.state == cri.ContainerState_CONTAINER_RUNNING
	s.mu.Unlock()
	if c == nil {
		return nil, notFound("container", r.ContainerId)
	}
	if !running {
		return nil, status.Errorf(codes.Unknown, "container %q does not run", c.id)
	}
	if exec != nil {
		out, code := exec(c.config.Metadata.Name, r.Cmd)
		return &cri.ExecSyncResponse{Stdout: []byte(out), ExitCode: code}, nil
	}
	return execute(ctx, testbox(r.Cmd), time.Duration(r.Timeout)*time.Second)
}

// execute runs a command to its end, or for as long as it may.
func execute(ctx context.Context, p Program, timeout time.Duration) (*cri.ExecSyncResponse, error) {
	runs := p.Runs
	if runs == 0 && !p.AtOnce {
		runs = math.MaxInt64
	}
	if timeout > 0 && runs > timeout {
		if err := wait(ctx, timeout); err != nil {
			return nil, err
		}
		return nil, status.Errorf(codes.DeadlineExceeded, "command did not end within %s", timeout)
	}
	if err := wait(ctx, runs); err != nil {
		return nil, err
	}
	var out strings.Builder
	for _, line := range p.Log {
		out.WriteString(line + "\n")
	}
	return &cri.ExecSyncResponse{Stdout: []byte(out.String()), ExitCode: p.Code}, nil
}
