package phases

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// manifests are what the phases that write static pods have in common. The loop
// reads their directory while they write it.
type manifests struct {
	cfg    *config.Init
	inputs templates.Inputs
	pki    *certs.PKI
}

// A renderer makes the static pod of one component.
type renderer func(*config.Init, templates.Inputs) (templates.Manifest, error)

// of returns the phase that writes what render makes.
func (m manifests) of(render renderer) Phase {
	return PlanFunc(func(context.Context) ([]Change, error) { return m.plan(render) })
}

func (m manifests) plan(render renderer) ([]Change, error) {
	inputs, err := m.known()
	if err != nil {
		return nil, err
	}
	manifest, err := render(m.cfg, inputs)
	if err != nil {
		return nil, err
	}
	return m.write(manifest)
}

func (m manifests) write(manifest templates.Manifest) ([]Change, error) {
	return planFile(filepath.Join(m.cfg.Kubelet.StaticPodPath, manifest.File), manifest.Data, 0o600)
}

// known adds to the inputs what the certificates say by now. A manifest changes
// with them, and so its pod is restarted.
func (m manifests) known() (templates.Inputs, error) {
	inputs := m.inputs
	external, err := m.pki.External()
	if err != nil {
		return inputs, err
	}
	inputs.ExternalCA, inputs.SigningCert = external, certs.SigningCert(m.cfg.Cluster.CertificatesDir)
	inputs.CertsHash = map[string]string{}
	for _, component := range []string{
		config.ComponentEtcd, config.ComponentAPIServer, config.ComponentControllerManager,
		config.ComponentScheduler, config.ComponentProxy,
	} {
		if inputs.CertsHash[component], err = hashFiles(templates.ReadOnce(m.cfg, component)); err != nil {
			return inputs, err
		}
	}
	return inputs, nil
}

// hashFiles takes a file that is not there for an empty one: in a dry run none
// is, and the key of an external CA never.
func hashFiles(paths []string) (string, error) {
	var contents [][]byte
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		contents = append(contents, data)
	}
	return templates.Hash(contents...), nil
}

// etcd returns the phase of a local etcd that is the first.
func (m manifests) etcd() Phase {
	return PlanFunc(func(context.Context) ([]Change, error) { return m.planEtcd("") })
}

// planEtcd plans the data directory of a local etcd, whose data only root may
// read, and its manifest, as a member of the cluster, see
// [templates.Inputs.EtcdCluster].
func (m manifests) planEtcd(cluster string) ([]Change, error) {
	dir, err := planDir(m.cfg.Cluster.Etcd.Local.DataDir)
	if err != nil {
		return nil, err
	}
	m.inputs.EtcdCluster = cluster
	manifest, err := m.plan(templates.Etcd)
	return slices.Concat(dir, manifest), err
}

// proxy returns the phase of kube-proxy's static pod, which reads a
// configuration that comes first.
func (m manifests) proxy(configPath string) Phase {
	return PlanFunc(func(context.Context) ([]Change, error) {
		inputs, err := m.known()
		if err != nil {
			return nil, err
		}
		proxy, err := templates.KubeProxy(m.cfg, inputs)
		if err != nil {
			return nil, err
		}
		conf, err := planFile(configPath, proxy.Config, 0o644)
		if err != nil {
			return nil, err
		}
		manifest, err := m.write(proxy.Manifest)
		return slices.Concat(conf, manifest), err
	})
}
