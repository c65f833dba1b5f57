package runtime

import (
	"context"
	"fmt"
	"os"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// createSandbox makes what a sandbox stands on, then the sandbox.
func (r *Runtime) createSandbox(ctx context.Context, p *v1.Pod, a pod.CreateSandbox) error {
	if _, err := r.volumes(ctx, p); err != nil {
		return r.failed(ctx, p, "", reasonMount, err)
	}
	handler, err := r.handler(ctx, p)
	if err != nil {
		return r.failed(ctx, p, "", reasonCreateSandbox, err)
	}
	config, warnings, err := r.sandboxConfig(p, a.Attempt, handler)
	if err != nil {
		return r.failed(ctx, p, "", reasonCreateSandbox, err)
	}
	for _, w := range warnings {
		r.event(p, "", v1.EventTypeWarning, w.Reason, w.Message)
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return r.failed(ctx, p, "", reasonCreateSandbox, fmt.Errorf("make log directory: %w", err))
	}
	done, err := r.turn(ctx, begins)
	if err != nil {
		return r.failed(ctx, p, "", reasonCreateSandbox, err)
	}
	defer done()
	// The network plugin may wait for things of its own.
	ctx, cancel := r.bounded(ctx, r.o.Timeout)
	defer cancel()
	if _, err := r.o.CRI.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: config, RuntimeHandler: handler}); err != nil {
		return r.failed(ctx, p, "", reasonCreateSandbox, err)
	}
	return nil
}

// volumes makes the volumes of p unless they are there already.
func (r *Runtime) volumes(ctx context.Context, p *v1.Pod) (map[string]pod.Volume, error) {
	if r.o.Volumes == nil {
		return nil, nil
	}
	return r.o.Volumes.Setup(ctx, p)
}

// subPaths makes the paths to those parts of volumes that d mounts.
func (r *Runtime) subPaths(ctx context.Context, p *v1.Pod, d pod.Declared, in spec.ContainerInput) (map[int]string, error) {
	subs, err := spec.SubPaths(p, d, r.o.Node(), in)
	if err != nil || len(subs) == 0 {
		return nil, err
	}
	paths := make(map[int]string, len(subs))
	for _, sub := range subs {
		if paths[sub.Index], err = r.o.Volumes.SubPath(ctx, p, sub); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// sandboxConfig returns the sandbox of p, and what is not as the pod asks for.
// The runtime is told it again with each container.
func (r *Runtime) sandboxConfig(p *v1.Pod, attempt uint32, handler string) (*cri.PodSandboxConfig, []spec.Warning, error) {
	in := spec.SandboxInput{Attempt: attempt, LogDir: spec.LogDir(r.o.PodLogsDir, p)}
	if handler == "" { // others may start something else
		in.Seccomp = r.o.SandboxSeccomp
	}
	var err error
	if in.Users, err = r.users(p, handler); err != nil {
		return nil, nil, err
	}
	if r.o.Cgroups != nil {
		if in.CgroupParent, err = r.o.Cgroups.Create(p); err != nil {
			return nil, nil, err
		}
	}
	if in.ResolvConf, err = r.resolvConf(); err != nil {
		return nil, nil, err
	}
	config, err := spec.Sandbox(p, r.o.Node(), in)
	if err != nil {
		return nil, nil, err
	}
	_, warnings, err := spec.DNS(p, r.o.Node(), in.ResolvConf)
	return config, warnings, err
}

func (r *Runtime) stopSandbox(ctx context.Context, p *v1.Pod, a pod.StopSandbox) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	_, err := r.o.CRI.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: a.ID})
	if err != nil && !isNotFound(err) {
		return r.failed(ctx, p, "", reasonKillSandbox, fmt.Errorf("stop sandbox: %w", err))
	}
	return nil
}

// removeSandbox removes a sandbox and the containers in it, with what was made
// on the node for each.
func (r *Runtime) removeSandbox(ctx context.Context, a pod.RemoveSandbox) error {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	list, err := r.o.CRI.ListContainers(ctx, &cri.ListContainersRequest{
		Filter: &cri.ContainerFilter{PodSandboxId: a.ID},
	})
	if err != nil {
		return r.failed(ctx, nil, "", reasonKillSandbox, fmt.Errorf("remove sandbox: %w", err))
	}
	_, err = r.o.CRI.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: a.ID})
	if err != nil && !isNotFound(err) {
		return r.failed(ctx, nil, "", reasonKillSandbox, fmt.Errorf("remove sandbox: %w", err))
	}
	for _, c := range list.Containers {
		if err := r.removeFiles(c.Labels, c.Metadata.GetAttempt(), c.Id); err != nil {
			return r.failed(ctx, nil, "", reasonRemoveContainer, err)
		}
	}
	return nil
}
