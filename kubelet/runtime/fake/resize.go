package fake

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// UpdateContainerResources changes the limits of a container that runs. Of what
// it is told only CPU and memory can be changed.
func (s *server) UpdateContainerResources(_ context.Context, r *cri.UpdateContainerResourcesRequest) (*cri.UpdateContainerResourcesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.container(r.ContainerId)
	switch {
	case c == nil:
		return nil, notFound("container", r.ContainerId)
	case c.state != cri.ContainerState_CONTAINER_RUNNING && c.state != cri.ContainerState_CONTAINER_CREATED:
		return nil, status.Errorf(codes.Unknown, "container %q is in state %s", c.id, c.state)
	}
	now, ok := proto.Clone(c.config.Linux.Resources).(*cri.LinuxContainerResources)
	if !ok {
		return nil, status.Errorf(codes.Internal, "container %q has no resources", c.id)
	}
	for to, from := range map[*int64]int64{
		&now.CpuShares: r.Linux.CpuShares, &now.CpuQuota: r.Linux.CpuQuota, &now.CpuPeriod: r.Linux.CpuPeriod,
		&now.MemoryLimitInBytes: r.Linux.MemoryLimitInBytes,
	} {
		if from != 0 { // 0 leaves it as it is
			*to = from
		}
	}
	if r.Linux.CpusetCpus != "" {
		now.CpusetCpus = r.Linux.CpusetCpus
	}
	c.config.Linux.Resources = now
	return &cri.UpdateContainerResourcesResponse{}, nil
}

// ListContainerStats tells how much memory containers use, which is what the
// test said.
func (s *server) ListContainerStats(_ context.Context, r *cri.ListContainerStatsRequest) (*cri.ListContainerStatsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListContainerStatsResponse{}
	for _, c := range s.containers {
		f := r.GetFilter()
		if c.state != cri.ContainerState_CONTAINER_RUNNING || !match(c.config.Labels, f.GetLabelSelector()) ||
			f.GetId() != "" && f.GetId() != c.id || f.GetPodSandboxId() != "" && f.GetPodSandboxId() != c.sandbox {
			continue
		}
		out.Stats = append(out.Stats, &cri.ContainerStats{
			Attributes: &cri.ContainerAttributes{Id: c.id, Metadata: c.config.Metadata, Labels: c.config.Labels, Annotations: c.config.Annotations},
			Memory:     &cri.MemoryUsage{Timestamp: s.now(), UsageBytes: &cri.UInt64Value{Value: c.program.Memory}},
		})
	}
	return out, nil
}
