package runtime

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Pin has all containers that run do so on the CPUs that of names. pinned is what it
// returned before, the CPUs of containers by ID: those that are still the same are left
// alone. A container that could not be moved is an error, and not among what it returns.
func (r *Runtime) Pin(ctx context.Context, of func(uid types.UID, container string) (cpus string, alone bool), pinned map[string]string) (map[string]string, error) {
	running, err := r.running(ctx)
	if err != nil {
		return pinned, err
	}
	now := make(map[string]string, len(running))
	var errs []error
	for _, c := range running {
		if _, ok := keyOf(c.Labels); !ok {
			continue
		}
		cpus, _ := of(types.UID(c.Labels[pod.LabelPodUID]), c.Metadata.GetName())
		if pinned[c.Id] != cpus {
			if err := r.pin(ctx, c.Id, cpus); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		now[c.Id] = cpus
	}
	return now, errors.Join(errs...)
}

func (r *Runtime) pin(ctx context.Context, id, cpus string) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	_, err := r.o.CRI.UpdateContainerResources(ctx, &cri.UpdateContainerResourcesRequest{
		ContainerId: id, Linux: &cri.LinuxContainerResources{CpusetCpus: cpus},
	})
	if err != nil {
		return fmt.Errorf("move container %s to CPUs %s: %w", id, cpus, err)
	}
	return nil
}

// running lists all containers that run.
func (r *Runtime) running(ctx context.Context) ([]*cri.Container, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
		State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
	}})
	if err != nil {
		return nil, fmt.Errorf("list running containers: %w", err)
	}
	return resp.Containers, nil
}
