package runtime

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// Observe returns all sandboxes and containers of a key, of whatever UID, the
// newest first. What vanishes while it looks is left out.
func (r *Runtime) Observe(ctx context.Context, key pod.Key) (pod.Observed, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	labels := map[string]string{pod.LabelPodNamespace: key.Namespace, pod.LabelPodName: key.Name}
	var out pod.Observed
	var err error
	if out.Sandboxes, err = r.sandboxes(ctx, labels); err != nil {
		return pod.Observed{}, fmt.Errorf("look at sandboxes of %s: %w", key, err)
	}
	if out.Containers, err = r.containers(ctx, labels); err != nil {
		return pod.Observed{}, fmt.Errorf("look at containers of %s: %w", key, err)
	}
	return out, nil
}

func (r *Runtime) sandboxes(ctx context.Context, labels map[string]string) ([]pod.Sandbox, error) {
	list, err := r.o.CRI.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{
		Filter: &cri.PodSandboxFilter{LabelSelector: labels},
	})
	if err != nil {
		return nil, err
	}
	var all []pod.Sandbox
	for _, item := range list.Items {
		s := listedSandbox(item)
		err := r.lookInto(ctx, &s)
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	newestFirst(all)
	return all, nil
}

// lookInto completes what a list tells of a sandbox.
func (r *Runtime) lookInto(ctx context.Context, s *pod.Sandbox) error {
	resp, err := r.o.CRI.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: s.ID})
	if err != nil {
		return fmt.Errorf("look at sandbox %s: %w", s.ID, err)
	}
	s.Ready = resp.Status.State == cri.PodSandboxState_SANDBOX_READY
	s.HostNetwork = resp.Status.GetLinux().GetNamespaces().GetOptions().GetNetwork() == cri.NamespaceMode_NODE
	s.IPs = addresses(resp.Status)
	return nil
}

func newestFirst(all []pod.Sandbox) {
	slices.SortStableFunc(all, func(a, b pod.Sandbox) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.Attempt, a.Attempt))
	})
}

func (r *Runtime) containers(ctx context.Context, labels map[string]string) ([]pod.Container, error) {
	list, err := r.o.CRI.ListContainers(ctx, &cri.ListContainersRequest{
		Filter: &cri.ContainerFilter{LabelSelector: labels},
	})
	if err != nil {
		return nil, err
	}
	var all []pod.Container
	for _, item := range list.Containers {
		resp, err := r.o.CRI.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: item.Id})
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at container %s: %w", item.Id, err)
		}
		all = append(all, restored(item, resp.Status))
	}
	slices.SortStableFunc(all, func(a, b pod.Container) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.Attempt, a.Attempt))
	})
	return all, nil
}

func isNotFound(err error) bool { return status.Code(err) == codes.NotFound }
