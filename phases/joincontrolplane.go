package phases

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"boot.internal/certs"
	"boot.internal/templates"
)

// prepareControlPlane returns what a node needs to become a control plane: the
// authorities that all of them share, and what is made with them.
func (o JoinOptions) prepareControlPlane(pki *certs.PKI) []Step {
	cfg := o.Config
	found := o.foundAPI()
	found.access = o.Cluster.Config
	items := pki.ClusterCerts()
	if cfg.Cluster.Etcd.External == nil {
		items = slices.Concat(pki.EtcdCerts(), items)
	}
	return slices.Concat(
		[]Step{{"control-plane-prepare/download-certs", "Download the certificates that all control planes share", downloadCerts{
			found, cfg.Init.CertificateKey, sharedFiles(certs.Tree(cfg.Cluster.CertificatesDir), cfg.Cluster.Etcd.External), o.Cluster.CA,
		}}},
		renamed("control-plane-prepare/certs", "Generate the certificates of the control plane", itemSteps(withoutShared(items))),
		renamed("control-plane-prepare/kubeconfig", "Generate the kubeconfigs of the administrator and the components", o.ownKubeconfigs(pki)),
	)
}

// withoutShared leaves out what a node must not make for itself: the authorities,
// and the keys that tokens are signed with.
func withoutShared(items []certs.Item) []certs.Item {
	return slices.DeleteFunc(items, func(it certs.Item) bool {
		return it.Name == "certs/sa" || it.Name == "certs/ca" || strings.HasSuffix(it.Name, "-ca")
	})
}

// ownKubeconfigs leaves out the kubelet's, which has its certificate signed like
// that of any node, and the super administrator's, of which one is enough.
func (o JoinOptions) ownKubeconfigs(pki *certs.PKI) []Step {
	tree := certs.KubeconfigTree(o.Dirs.Kubernetes)
	return itemSteps(slices.DeleteFunc(pki.Kubeconfigs(), func(it certs.Item) bool {
		return it.Path == tree.Kubelet || it.Path == tree.SuperAdmin
	}))
}

// renamed gives steps the name of the phase they are parts of.
func renamed(name, desc string, steps []Step) []Step {
	for i := range steps {
		steps[i].Name, steps[i].Desc = name, desc
	}
	return steps
}

// foundAPI is the API server that was found, as this node's administrator reaches
// it: this node has none of its own before it has etcd.
func (o JoinOptions) foundAPI() apiServer {
	api := localAPI(o.Config, o.Dirs)
	api.url = o.Cluster.Server
	return api
}

// controlPlaneManifests are written in two steps, as by init: those that only wait
// for the API server come after it.
const controlPlaneManifests = "control-plane-prepare/control-plane"

// joinEtcd returns what makes this node's etcd a member of the cluster's, and
// hands over the API server, which could not do without it.
func (o JoinOptions) joinEtcd(pki *certs.PKI) []Step {
	cfg, pods := o.Config, manifests{o.Config, o.Inputs, pki}
	return slices.Concat(
		unless(cfg.Cluster.Etcd.External != nil, []Step{{"etcd-join", "Make a local etcd a member of the cluster's", joinEtcd{
			cfg: cfg, api: o.foundAPI(), pods: pods, tree: certs.Tree(cfg.Cluster.CertificatesDir),
			images: o.Images, components: o.Components, dir: o.Dirs.State, patience: orphanPatience,
		}}}),
		[]Step{{controlPlaneManifests, "Generate the static Pod manifests of the control plane", pods.of(templates.APIServer)}},
	)
}

// joinControlPlane returns what makes the node one of the control planes.
func (o JoinOptions) joinControlPlane(pki *certs.PKI) []Step {
	cfg, api, pods := o.Config, localAPI(o.Config, o.Dirs), manifests{o.Config, o.Inputs, pki}
	node := cfg.Init.NodeRegistration
	wait := &waitControlPlane{
		probes: probes(cfg, api, certs.Tree(cfg.Cluster.CertificatesDir)), components: o.Components, service: o.Service,
		timeout: limit(cfg.Init.Timeouts.ControlPlaneComponentHealthCheck), begun: time.Now(),
		log: o.LoopLog, node: node.Name,
	}
	return []Step{
		{"wait-control-plane", "Wait until the control plane is healthy", wait.forAPIServer()},
		{controlPlaneManifests, "Generate the static Pod manifests of the control plane", pods.of(templates.ControllerManager)},
		{controlPlaneManifests, "Generate the static Pod manifests of the control plane", pods.of(templates.Scheduler)},
		{"wait-control-plane", "Wait until the control plane is healthy", wait},
		{"control-plane-join/approve-serving-certs", "Let this node approve the serving certificates of kubelets", stored(api, func() ([]*unstructured.Unstructured, error) {
			return templates.ServingApprover(node.Name)
		})},
		{"control-plane-join/mark-control-plane", "Label and taint the node as a control plane", markControlPlane{
			api, node.Name, node.Taints, limit(cfg.Init.Timeouts.KubeletHealthCheck),
		}},
	}
}
