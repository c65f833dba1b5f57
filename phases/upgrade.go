package phases

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/etcd"
	"boot.internal/templates"
)

// UpgradeOptions are the values the phases of "boot upgrade apply" and "boot
// upgrade node" are built with, once the cluster was looked at.
type UpgradeOptions struct {
	// Config is this node as a member of the cluster, at the version to move to:
	// [config.Member.Node].
	Config *config.Init
	// ControlPlane says that this node is one.
	ControlPlane bool
	// Apply is for the first node, which also changes what the cluster stores.
	Apply bool
	// KeepEtcd leaves etcd as it is.
	KeepEtcd bool
	// Renewal is of the certificates that are renewed with the components; without
	// any Held none is.
	Renewal RenewOptions
	// Findings are what speaks against it, found when the cluster was looked at.
	Findings []Finding
	// Ignore names the checks whose findings only warn.
	Ignore []string
	// Note is what a run that goes on has to know, as it would be written now.
	Note UpgradeNote
	// Live says that the cluster itself has told what is in Note, and not an
	// earlier note.
	Live bool
	// Stored is what of boot's own the cluster stores; nil where boot did not make
	// it.
	Stored *config.BootConfiguration

	Dirs Dirs
	// Inputs are those of [InitOptions].
	Inputs  templates.Inputs
	Rollout RolloutOptions
	Service Service // runs the kubelet loop from Program.Installed
	Images  Images  // those of the container engine
	Program Program
}

// Upgrade returns the phases of "boot upgrade apply" or "boot upgrade node" in the
// order of the work. Whoever runs them has the turn of [RolloutTurn].
func Upgrade(o UpgradeOptions) ([]Step, error) {
	pki, err := pkiOptions(o.Config, o.Dirs)
	if err != nil {
		return nil, err
	}
	return upgradeSteps(o, certs.New(pki)), nil
}

func allUpgradeSteps(apply bool) []Step {
	unasked := &config.Init{Init: config.InitConfiguration{Timeouts: &config.Timeouts{}}}
	return upgradeSteps(UpgradeOptions{Config: unasked, Apply: apply, ControlPlane: true}, certs.New(certs.Options{}))
}

// upgradeSteps is the order of the work: that of the version skew policy of
// Kubernetes. etcd comes first, and its data is saved before; then the API server,
// which nothing may be newer than; then what talks to it, and the loop last. What
// the cluster stores follows once this node has shown that the version works.
func upgradeSteps(o UpgradeOptions, pki *certs.PKI) []Step {
	pods := manifests{o.Config, o.Inputs, pki}
	controlPlane := o.controlPlane(pods)
	proxy := unless(o.Config.Cluster.Proxy.Disabled, []Step{{"addon/kube-proxy", "Replace kube-proxy", o.proxy(pods)}})
	agent := []Step{{"kubelet-config", "Write the kubelet's configuration, and have the loop run from this program", upgradeLoop{
		kubeletStart{cfg: o.Config, patches: o.Inputs.Patches, dir: o.Dirs.Kubelet, service: o.Service}, o.Program,
	}}}
	work := slices.Concat(controlPlane, proxy, agent)
	note := o.noting(work)
	return slices.Concat(
		[]Step{
			{"preflight", "Check the cluster and this node, and get the images", upgradePreflight{o}},
			note.begin(),
		},
		unless(o.Config.Cluster.Etcd.External != nil || !o.ControlPlane, []Step{
			{"etcd-snapshot", "Save a snapshot of etcd", snapshotFirst{o.Dirs.State, controlPlane, o.saveSnapshot}},
		}),
		controlPlane,
		proxy,
		o.cluster(),
		agent,
		[]Step{note.end()},
	)
}

// controlPlane returns the phases that replace the static pods of the control
// plane.
func (o UpgradeOptions) controlPlane(pods manifests) []Step {
	return slices.Concat(
		unless(!o.ControlPlane || o.KeepEtcd || o.Config.Cluster.Etcd.External != nil,
			o.replace("control-plane/etcd", config.ComponentEtcd, pods.after(templates.Etcd))),
		unless(!o.ControlPlane, slices.Concat(
			o.replace("control-plane/apiserver", config.ComponentAPIServer, pods.after(templates.APIServer)),
			o.replace("control-plane/controller-manager", config.ComponentControllerManager, pods.after(templates.ControllerManager)),
			o.replace("control-plane/scheduler", config.ComponentScheduler, pods.after(templates.Scheduler)),
		)),
	)
}

// replace returns the phase that makes the static pod of a component what it is at
// the version to move to, after its certificates: with those its manifest changes.
func (o UpgradeOptions) replace(name, component string, next func(current []byte) ([]byte, error)) []Step {
	renewal, rollout := o.Renewal.of(component), o.Rollout
	if len(renewal.Held) > 0 {
		rollout.beside = renewal.beside(component)
	}
	desc, replacement := "Replace "+component, Rollout(rollout, component, next)
	return []Step{{name, desc, upgradeRenewal{renewal, replacement}}, {name, desc, replacement}}
}

// after returns what makes the next manifest of the current one.
func (m manifests) after(render renderer) func(current []byte) ([]byte, error) {
	return func(current []byte) ([]byte, error) {
		next, err := m.next(current, render)
		return next.Data, err
	}
}

// noting is what writes and forgets the note, if there is work.
func (o UpgradeOptions) noting(work []Step) noting {
	o.Note.Certificates = serials(o.Renewal.Held)
	return noting{o.Note, o.Dirs.State, o.Live, work}
}

// next returns the manifest that takes the place of the current one. An etcd is
// still the member that it has become.
func (m manifests) next(current []byte, render renderer) (templates.Manifest, error) {
	inputs, err := m.known()
	if err != nil {
		return templates.Manifest{}, err
	}
	if inputs.EtcdCluster, err = joinedCluster(current); err != nil {
		return templates.Manifest{}, err
	}
	return render(m.cfg, inputs)
}

// joinedCluster is what [templates.Inputs] calls the EtcdCluster of a manifest.
func joinedCluster(manifest []byte) (string, error) {
	pod, err := parsePod(manifest)
	if err != nil || flagOf(pod, "initial-cluster-state") != "existing" {
		return "", err
	}
	return flagOf(pod, "initial-cluster"), nil
}

// proxy returns the phase that replaces kube-proxy, with the configuration it reads
// and what lets it see Services.
func (o UpgradeOptions) proxy(pods manifests) Phase {
	render := func() (templates.Proxy, error) {
		inputs, err := pods.known()
		if err != nil {
			return templates.Proxy{}, err
		}
		return templates.KubeProxy(o.Config, inputs)
	}
	pod := Rollout(o.Rollout, config.ComponentProxy, func([]byte) ([]byte, error) {
		p, err := render()
		return p.Data, err
	})
	return PlanFunc(func(ctx context.Context) ([]Change, error) {
		p, err := render()
		if err != nil {
			return nil, err
		}
		conf, err := planFile(o.Dirs.ProxyConfig, p.Config, 0o644)
		if err != nil {
			return nil, err
		}
		manifest, err := pod.Plan(ctx)
		return slices.Concat(conf, manifest), err
	})
}

// cluster returns the phases that change what the cluster stores. Of these, "boot
// upgrade node" has the one that kubeadm's has, too, which people may want to skip.
func (o UpgradeOptions) cluster() []Step {
	cfg, api := *o.Config, localAPI(o.Config, o.Dirs)
	if o.Stored != nil {
		cfg.Boot = *o.Stored // and not what is this node's own
	}
	objects := func(render func(*config.Init) ([]*unstructured.Unstructured, error)) Phase {
		return stored(api, func() ([]*unstructured.Unstructured, error) { return render(&cfg) })
	}
	dns := []Step{{"addon/coredns", "Install CoreDNS, as 'boot upgrade apply' does", coreDNS(api, &cfg, o.Inputs.Patches)}}
	if !o.Apply {
		return unless(true, dns)
	}
	return slices.Concat(
		[]Step{
			{"upload-config/kubeadm", "Store the ClusterConfiguration in a ConfigMap", objects(templates.KubeadmConfig)},
			{"upload-config/kubelet", "Store the KubeletConfiguration in a ConfigMap", objects(templates.KubeletConfig)},
		},
		unless(o.Stored == nil, []Step{{"upload-config/boot", "Store what only boot knows of in a ConfigMap", objects(templates.BootConfig)}}),
		[]Step{{"bootstrap-token", "Create the rules that let nodes join", stored(api, templates.BootstrapTokenRBAC)}},
		dns,
		unless(cfg.Cluster.Proxy.Disabled, []Step{{"addon/kube-proxy", "Let kube-proxy see Services", stored(api, templates.ProxyRBAC)}}),
	)
}

// saveSnapshot saves a snapshot of the etcd that this node is a member of.
func (o UpgradeOptions) saveSnapshot(ctx context.Context, path string) error {
	cluster, err := EtcdCluster(EtcdOptions{Manifests: o.Rollout.Manifests, CertDir: o.Config.Cluster.CertificatesDir})
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Close() }()
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	_, err = cluster.SaveSnapshot(ctx, path)
	return err
}

// snapshotTimeout bounds the snapshot before an upgrade.
const snapshotTimeout = 10 * time.Minute

// A snapshotFirst saves the data of etcd before anything that reads or writes it
// changes.
type snapshotFirst struct {
	state string // directory of what boot keeps for itself
	work  []Step // what is only done with a snapshot
	save  func(ctx context.Context, path string) error
}

// Plan implements Phase. The snapshot is that of the run that began, however often
// that is gone on with: what is stored later may be of the new version.
func (p snapshotFirst) Plan(ctx context.Context) ([]Change, error) {
	needed, err := pending(ctx, p.work)
	if err != nil || !needed {
		return nil, err
	}
	shelf := etcd.Shelf{Dir: filepath.Join(p.state, "snapshots")}
	note, err := ReadUpgradeNote(p.state)
	if err != nil || note != nil && exists(shelf.Path(note.Begun, false)) {
		return nil, err
	}
	return []Change{{"save a snapshot of etcd in " + shelf.Dir, func(ctx context.Context) error {
		note, err := ReadUpgradeNote(p.state)
		if err != nil {
			return err
		}
		if note == nil {
			return errNotBegun
		}
		if err := shelf.Make(); err != nil {
			return err
		}
		return p.save(ctx, shelf.Path(note.Begun, false))
	}}}, nil
}
