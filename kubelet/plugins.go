package kubelet

import (
	"context"
	"path/filepath"

	"boot.internal/kubelet/plugin"
)

// pluginHandlers returns who takes in the plugins of each type.
func (k *kubelet) pluginHandlers() map[plugin.Type]plugin.Handler {
	return map[plugin.Type]plugin.Handler{plugin.CSI: k.csi, plugin.Device: k.devices, plugin.DRA: k.claims}
}

// registerPlugins registers plugins as they come, until ctx ends.
func (k *kubelet) registerPlugins(ctx context.Context) error {
	return plugin.New(plugin.Options{
		Dir: filepath.Join(k.o.RootDir, "plugins_registry"), Handlers: k.pluginHandlers(), Log: k.o.Logger,
	}).Run(ctx)
}
