package phases

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// A ComponentChange is what an upgrade does to one component of a node.
type ComponentChange struct {
	Node      string `json:"node"`
	Component string `json:"component"`
	From      string `json:"from"`
	To        string `json:"to"`
}

// Changes lists what an upgrade of all nodes to a version would change: what runs
// on them, and their node agents.
func (s Survey) Changes(target *config.ClusterConfiguration, boot string) []ComponentChange {
	var all []ComponentChange
	for _, r := range s.Running {
		to := imageVersion(target.Image(r.Component))
		if target.Image(r.Component) != "" && to != r.Version {
			all = append(all, ComponentChange{r.Node, r.Component, r.Version, to})
		}
	}
	for _, node := range slices.Sorted(maps.Keys(s.Kubelets)) {
		if s.Kubelets[node] != boot {
			all = append(all, ComponentChange{node, "kubelet", s.Kubelets[node], boot})
		}
	}
	slices.SortStableFunc(all, func(a, b ComponentChange) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// A ManifestChange is a static pod of this node before and after an upgrade.
type ManifestChange struct {
	Path          string
	Current, Next []byte
}

// UpgradeManifests returns the static pods of the control plane of this node, with
// what an upgrade would make of them.
func UpgradeManifests(o UpgradeOptions) ([]ManifestChange, error) {
	pki, err := pkiOptions(o.Config, o.Dirs)
	if err != nil {
		return nil, err
	}
	pods := manifests{o.Config, o.Inputs, certs.New(pki)}
	renderers := map[string]renderer{
		config.ComponentEtcd: templates.Etcd, config.ComponentAPIServer: templates.APIServer,
		config.ComponentControllerManager: templates.ControllerManager, config.ComponentScheduler: templates.Scheduler,
	}
	var all []ManifestChange
	for _, component := range slices.Sorted(maps.Keys(renderers)) {
		path := filepath.Join(o.Rollout.Manifests, component+".yaml")
		current, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		next, err := pods.next(current, renderers[component])
		if err != nil {
			return nil, err
		}
		all = append(all, ManifestChange{path, current, next.Data})
	}
	return all, nil
}

// Ageing returns the certificates of this node that have a third of their life left
// or less, or are no good any more.
func Ageing(cfg *config.Init, dirs Dirs) ([]certs.Info, error) {
	pki, err := pkiOptions(cfg, dirs)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(certs.New(pki).Inspect(), func(i certs.Info) bool {
		return i.State == certs.Fits || i.State == certs.Missing
	}), nil
}
