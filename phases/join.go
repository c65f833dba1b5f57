package phases

import (
	"path/filepath"
	"slices"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/discovery"
	"boot.internal/templates"
)

// JoinOptions are the values the phases of "boot join" are built with, once the
// cluster is found.
type JoinOptions struct {
	// Config is this node as a member of the cluster: [config.Join.Node].
	Config *config.Init
	// ControlPlane says that the node becomes a member of the control plane.
	ControlPlane bool
	// Cluster is what was found. It knows how to talk to the API server that
	// answered, before this node has one of its own.
	Cluster *discovery.Cluster
	// CACertPath is where the cluster's authority is stored on a worker.
	CACertPath string
	Dirs       Dirs
	// Inputs are those of [InitOptions].
	Inputs     templates.Inputs
	Service    Service    // runs the kubelet loop
	Components Components // looks at the control plane's containers
	Images     Images     // those of the container engine
	LoopLog    LoopLog    // what the loop logs to
}

// JoinPreflight returns the phases of "boot join" that come before the cluster is
// looked for: they are about this host alone.
func JoinPreflight(preflight Phase) []Step {
	return []Step{{"preflight", "Check this host and make it ready", preflight}}
}

// Join returns the phases of "boot join" that come after those of [JoinPreflight],
// in the order of the work.
func Join(o JoinOptions) ([]Step, error) {
	pki, err := pkiOptions(o.Config, o.Dirs)
	if err != nil {
		return nil, err
	}
	return joinSteps(o, certs.New(pki)), nil
}

// JoinPhases lists the phases of "boot join" for help and completion.
func JoinPhases() []Entry { return List(allJoinSteps()) }

// JoinSkipping is [Skipping] for the phases of "boot join".
func JoinSkipping(names []string) (func(name string) bool, error) {
	return Skipping(allJoinSteps(), names)
}

func allJoinSteps() []Step {
	unasked := &config.Init{Init: config.InitConfiguration{Timeouts: &config.Timeouts{}}}
	o := JoinOptions{Config: unasked, Cluster: &discovery.Cluster{}, ControlPlane: true}
	return slices.Concat(JoinPreflight(nil), joinSteps(o, certs.New(certs.Options{})))
}

// joinSteps is the order of the work. Steps that the configuration has no use for
// are there all the same, to be listed and skipped, and have nothing to do.
func joinSteps(o JoinOptions, pki *certs.PKI) []Step {
	cfg, worker := o.Config, !o.ControlPlane
	pods := manifests{cfg, o.Inputs, pki}
	access := joinAccess{
		cluster: o.Cluster, node: cfg.Init.NodeRegistration.Name, caPath: o.CACertPath,
		bootstrap: bootstrapKubeconfig(o.Dirs), kubeconfig: certs.KubeconfigTree(o.Dirs.Kubernetes).Kubelet,
	}
	access.endpoint = o.apiEndpoint()
	return slices.Concat(
		unless(worker, o.prepareControlPlane(pki)),
		[]Step{
			// From here on the loop brings up the container engine, imports images
			// and asks for a certificate, all at once.
			{"kubelet-start", "Write the kubelet's configuration and start the kubelet loop", kubeletStart{cfg, o.Inputs.Patches, o.Dirs.Kubelet, o.Service, o.servers(), access}},
		},
		unless(worker, o.joinEtcd(pki)),
		[]Step{
			{"kubelet-wait-bootstrap", "Wait until the cluster has signed the node's certificate", joinWait{
				access, limit(cfg.Init.Timeouts.TLSBootstrap), o.Service,
			}},
		},
		// kube-proxy identifies with that certificate.
		unless(cfg.Cluster.Proxy.Disabled, []Step{{"addon/kube-proxy", "Install kube-proxy", pods.proxy(o.Dirs.ProxyConfig)}}),
		unless(worker, o.joinControlPlane(pki)),
	)
}

// apiEndpoint returns where the node reaches the API.
func (o JoinOptions) apiEndpoint() endpoint {
	if balanced(o.Config) {
		return nodeEndpoint(o.Config)
	}
	return endpoint{"https://" + o.Config.Cluster.ControlPlaneEndpoint, ""}
}

// servers are those that the node can choose from at first: the one that answered,
// and its own, once it has one.
func (o JoinOptions) servers() []string {
	switch {
	case !balanced(o.Config):
		return nil
	case o.ControlPlane:
		return append(ownServer(o.Config), o.Cluster.Host())
	}
	return []string{o.Cluster.Host()}
}

// bootstrapKubeconfig is with what a node asks for its first certificate.
func bootstrapKubeconfig(dirs Dirs) string {
	return filepath.Join(dirs.Kubernetes, "bootstrap-kubelet.conf")
}
