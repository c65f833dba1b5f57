package runtime

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A Status is how the runtime as a whole is doing.
type Status struct {
	Ready        bool   // can run containers
	NetworkReady bool   // can give pods a network of their own (SP-36)
	Message      string // why not, if one of them is false
	Handlers     []v1.NodeRuntimeHandler
	Features     *v1.NodeFeatures // nil where the runtime does not say
}

// Status asks the runtime how it is doing.
func (r *Runtime) Status(ctx context.Context) (Status, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return Status{}, fmt.Errorf("ask for status of container runtime: %w", err)
	}
	var out Status
	for _, c := range resp.GetStatus().GetConditions() {
		switch c.Type {
		case cri.RuntimeReady:
			out.Ready = c.Status
		case cri.NetworkReady:
			out.NetworkReady = c.Status
		default:
			continue // warnings of the runtime's own
		}
		if !c.Status && out.Message == "" {
			out.Message = c.Reason + ": " + c.Message
		}
	}
	for _, h := range resp.RuntimeHandlers {
		out.Handlers = append(out.Handlers, handlerOf(h))
	}
	if f := resp.Features; f != nil {
		out.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: &f.SupplementalGroupsPolicy}
	}
	return out, nil
}

func handlerOf(h *cri.RuntimeHandler) v1.NodeRuntimeHandler {
	out := v1.NodeRuntimeHandler{Name: h.Name}
	if f := h.Features; f != nil {
		out.Features = &v1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: &f.RecursiveReadOnlyMounts,
			UserNamespaces:          &f.UserNamespaces,
		}
	}
	return out
}

// Version returns name and version of the runtime as a node reports them:
// "containerd://2.4.2".
func (r *Runtime) Version(ctx context.Context) (string, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return "", fmt.Errorf("ask for version of container runtime: %w", err)
	}
	return resp.RuntimeName + "://" + resp.RuntimeVersion, nil
}

// CgroupDriver returns "systemd" or "cgroupfs", whichever the runtime uses.
func (r *Runtime) CgroupDriver(ctx context.Context) (string, error) {
	ctx, cancel := r.bounded(ctx, 0)
	defer cancel()
	resp, err := r.o.CRI.RuntimeConfig(ctx, &cri.RuntimeConfigRequest{})
	if err != nil {
		return "", fmt.Errorf("ask container runtime for its cgroup driver: %w", err)
	}
	if resp.GetLinux().GetCgroupDriver() == cri.CgroupDriver_CGROUPFS {
		return "cgroupfs", nil
	}
	return "systemd", nil
}
