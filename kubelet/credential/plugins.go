package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	kubeletv1 "k8s.io/kubelet/config/v1"

	"boot.internal/kubelet/pod"
)

// PluginOptions say which plugins there are.
type PluginOptions struct {
	Providers []kubeletv1.CredentialProvider // valid: of ReadConfig
	Dir       string                         // of their programs
	// Accounts knows service accounts, for plugins that are shown their tokens.
	Accounts Accounts
	// Ran is told of each run of a plugin. May be nil.
	Ran func(plugin string, took time.Duration, err error)
	Log *slog.Logger
}

// Plugins are the credential providers of the node.
type Plugins struct {
	all []*plugin
	log *slog.Logger
}

// NewPlugins fails where a program is missing: a node that cannot pull what it
// is meant to should say so at once.
func NewPlugins(o PluginOptions) (*Plugins, error) {
	all := &Plugins{log: o.Log}
	for _, p := range o.Providers {
		program, err := exec.LookPath(filepath.Join(o.Dir, p.Name))
		if err != nil {
			return nil, fmt.Errorf("find credential provider: %w", err)
		}
		all.all = append(all.all, newPlugin(p, program, o))
	}
	return all, nil
}

// lookup asks every plugin that is meant for the image. One that has no answer
// keeps the others from nothing.
func (ps *Plugins) lookup(ctx context.Context, p *v1.Pod, image string) []Credential {
	k := keyring{}
	for _, plugin := range ps.all {
		if !plugin.wants(image) {
			continue
		}
		all, from, err := plugin.provide(ctx, p, image)
		switch {
		case errors.Is(err, errNotMeant):
		case err != nil:
			ps.log.LogAttrs(ctx, slog.LevelError, "credential provider has no answer", slog.String("provider", plugin.Name),
				slog.String("image", image), slog.String("pod", pod.KeyOf(p).String()), slog.Any("err", err))
		default:
			k.add(all, from)
		}
	}
	return k.lookup(image)
}
