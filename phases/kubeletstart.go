package phases

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"boot.internal/config"
)

// A kubeletStart hands the loop its configuration and starts it, as a service
// that lives on. The loop finds its work in the manifest directory as the
// phases after this one put it there.
type kubeletStart struct {
	cfg     *config.Init
	dir     string // /var/lib/kubelet
	service Service
}

// Plan implements Phase.
func (p kubeletStart) Plan(ctx context.Context) ([]Change, error) {
	data, err := p.configuration()
	if err != nil {
		return nil, err
	}
	files, err := planFile(filepath.Join(p.dir, "config.yaml"), data, 0o644)
	if err != nil {
		return nil, err
	}
	start, err := p.planStart(ctx)
	return append(files, start...), err
}

// configuration is what the whole cluster shares and this node's own: the
// engine's socket, if there is one to use, and boot's own document.
func (p kubeletStart) configuration() ([]byte, error) {
	kubelet := p.cfg.Kubelet.DeepCopy()
	if socket := p.cfg.Init.NodeRegistration.CRISocket; socket != "" {
		kubelet.ContainerRuntimeEndpoint = socket
	}
	data, err := config.MarshalKubelet(kubelet)
	if err != nil {
		return nil, err
	}
	own, err := p.cfg.Boot.Marshal()
	if err != nil {
		return nil, err
	}
	return slices.Concat(data, []byte("---\n"), own), nil
}

func (p kubeletStart) planStart(ctx context.Context) ([]Change, error) {
	running, err := p.service.Running(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the kubelet loop: %w", err)
	}
	if running {
		return nil, nil
	}
	return []Change{{"start the kubelet loop", p.service.Start}}, nil
}
