package phases

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"boot.internal/config"
	"boot.internal/templates"
)

// StartLoop is the change that starts the kubelet loop. It is made once the loop's
// container engine answers.
const StartLoop = "start the kubelet loop"

// A kubeletStart hands the loop its configuration and starts it, as a service
// that lives on. The loop finds its work in the manifest directory as the
// phases after this one put it there.
type kubeletStart struct {
	cfg     *config.Init
	patches templates.Patches
	dir     string // /var/lib/kubelet
	service Service
	// servers are API servers to choose from, beside those the user has named.
	servers []string
	access  Phase // writes what the loop reaches the cluster with; nil where later phases do
}

// Plan implements Phase. The loop reads its configuration when it starts, so
// one that runs is stopped before the file changes: whenever this is
// interrupted, a loop that runs has read the file that is there.
func (p kubeletStart) Plan(ctx context.Context) ([]Change, error) {
	data, err := p.configuration()
	if err != nil {
		return nil, err
	}
	write, err := planFile(filepath.Join(p.dir, "config.yaml"), data, 0o644)
	if err != nil {
		return nil, err
	}
	var access []Change
	if p.access != nil {
		if access, err = p.access.Plan(ctx); err != nil {
			return nil, err
		}
	}
	running, err := p.service.Running(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the kubelet loop: %w", err)
	}
	if running && len(write) == 0 {
		return access, nil // the loop waits for it
	}
	var stop []Change
	if running {
		stop = []Change{{"stop the kubelet loop, whose configuration changes", p.service.Stop}}
	}
	return slices.Concat(stop, access, write, []Change{{StartLoop, p.service.Start}}), nil
}

// configuration is what the whole cluster shares and this node's own: the
// engine's socket, if there is one to use, the user's patches, and boot's own
// document.
func (p kubeletStart) configuration() ([]byte, error) {
	cfg := *p.cfg
	cfg.Kubelet = *cfg.Kubelet.DeepCopy()
	if socket := cfg.Init.NodeRegistration.CRISocket; socket != "" {
		cfg.Kubelet.ContainerRuntimeEndpoint = socket
	}
	kubelet, err := templates.Kubelet(&cfg, p.patches)
	if err != nil {
		return nil, err
	}
	cfg.Boot.APIServers = slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.servers, cfg.Boot.APIServers))))
	own, err := cfg.Boot.Marshal()
	if err != nil {
		return nil, err
	}
	return slices.Concat(kubelet, []byte("---\n"), own), nil
}
