package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

// startContainer pulls, creates and starts one instance and waits for its
// postStart hook.
func (r *Runtime) startContainer(ctx context.Context, p *v1.Pod, a pod.StartContainer) error {
	d, ok := pod.Find(p, a.Name)
	if !ok {
		return r.failed(ctx, p, a.Name, reasonContainerConfig, fmt.Errorf("container %q is not in the pod", a.Name))
	}
	image, err := r.o.Images.Ensure(ctx, p, d.Container)
	if err != nil {
		return r.failed(ctx, p, a.Name, reasonImagePull, err)
	}
	req, err := r.createRequest(ctx, p, d, a, image)
	if err != nil {
		return r.failed(ctx, p, a.Name, reasonContainerConfig, err)
	}
	id, err := r.createContainer(ctx, req)
	if err != nil {
		return r.failed(ctx, p, a.Name, reasonCreateContainer, plain(err))
	}
	r.event(p, a.Name, v1.EventTypeNormal, eventCreated, "Container created")
	if err := r.runContainer(ctx, id); err != nil {
		return r.failed(ctx, p, a.Name, reasonRunContainer, plain(err))
	}
	r.event(p, a.Name, v1.EventTypeNormal, eventStarted, "Container started")
	log := filepath.Join(req.SandboxConfig.LogDirectory, req.Config.LogPath)
	if err := r.linkLog(p, a.Name, id, log); err != nil { // only log shippers miss it
		r.o.Log.Warn("container has no log link", slog.String("container", a.Name), slog.Any("err", err))
	}
	return r.postStart(ctx, p, d, id)
}

// createRequest gathers what the container is made of.
func (r *Runtime) createRequest(ctx context.Context, p *v1.Pod, d pod.Declared, a pod.StartContainer, image *cri.Image) (*cri.CreateContainerRequest, error) {
	config, _, err := r.sandboxConfig(p, a.Sandbox.Attempt, a.Sandbox.RuntimeClass)
	if err != nil {
		return nil, err
	}
	in := spec.ContainerInput{Attempt: r.attempt(p, a), Backoff: a.Backoff, Image: image, PodIPs: r.podIPs(a.Sandbox)}
	if in.Users, err = r.users(p, a.Sandbox.RuntimeClass); err != nil {
		return nil, err
	}
	if in.Volumes, err = r.volumes(ctx, p); err != nil {
		return nil, err
	}
	if in.Volumes, err = r.imageVolumes(ctx, p, d, in.Volumes); err != nil {
		return nil, err
	}
	if err := r.readEnvironment(ctx, p, d.Container, &in); err != nil {
		return nil, err
	}
	if in.Hosts, err = r.writeHosts(p, in.PodIPs); err != nil {
		return nil, err
	}
	if in.TargetID, err = r.target(ctx, p, d); err != nil {
		return nil, err
	}
	in.RecursiveReadOnly = r.o.Node().RecursiveReadOnly[a.Sandbox.RuntimeClass]
	if in.SubPaths, err = r.subPaths(ctx, p, d, in); err != nil {
		return nil, err
	}
	in.TerminationLog = r.terminationLog(string(p.UID), d.Name, in.Attempt)
	container, err := spec.Container(p, d, r.o.Node(), in)
	if err != nil {
		return nil, err
	}
	if r.o.Devices != nil {
		if err := r.o.Devices.Equip(ctx, p, d.Name, container); err != nil {
			return nil, err
		}
	}
	if err := makeTerminationLog(in.TerminationLog); err != nil {
		return nil, err
	}
	if err := r.makeLogDir(p, d.Name); err != nil {
		return nil, err
	}
	return &cri.CreateContainerRequest{PodSandboxId: a.Sandbox.ID, Config: container, SandboxConfig: config}, nil
}

// podIPs returns the addresses of a pod: those of the node on its network.
func (r *Runtime) podIPs(s pod.Sandbox) []string {
	if s.HostNetwork {
		return r.o.Node().IPs
	}
	return pod.OnePerFamily(s.IPs, r.o.Node().IPs)
}

// target returns the ID of the container that an ephemeral one is to look at.
func (r *Runtime) target(ctx context.Context, p *v1.Pod, d pod.Declared) (string, error) {
	if d.Kind != pod.Ephemeral {
		return "", nil
	}
	name := p.Spec.EphemeralContainers[d.Index].TargetContainerName
	if name == "" {
		return "", nil
	}
	have, err := r.Observe(ctx, pod.KeyOf(p))
	if err != nil {
		return "", err
	}
	c, ok := have.NewestOf(p.UID, name)
	if !ok || c.State != pod.Running {
		return "", fmt.Errorf("target container %q does not run", name)
	}
	return c.ID, nil
}

func (r *Runtime) createContainer(ctx context.Context, req *cri.CreateContainerRequest) (id string, err error) {
	done, err := r.turn(ctx, goesOn)
	if err != nil {
		return "", err
	}
	defer done()
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.CreateContainer(ctx, req)
	if err != nil {
		return "", err
	}
	return resp.ContainerId, nil
}

func (r *Runtime) runContainer(ctx context.Context, id string) error {
	done, err := r.turn(ctx, goesOn)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	_, err = r.o.CRI.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: id})
	return err
}

// postStart runs the hook of a container that just started. One whose hook
// fails is killed, to be started again.
func (r *Runtime) postStart(ctx context.Context, p *v1.Pod, d pod.Declared, id string) error {
	if d.Lifecycle == nil || d.Lifecycle.PostStart == nil {
		return nil
	}
	err := r.runHook(ctx, d.Lifecycle.PostStart, id, d.Ports)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("run postStart hook of container %q: %w", d.Name, err)
	if ctx.Err() == nil {
		kill := pod.KillContainer{Name: d.Name, ID: id, Why: "postStart hook failed", Grace: pod.Grace(p), Hook: true}
		err = errors.Join(err, r.killContainer(ctx, p, kill))
	}
	return r.failed(ctx, p, d.Name, reasonPostStart, err)
}
