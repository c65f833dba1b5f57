package phases

import (
	"slices"
	"time"

	"boot.internal/certs"
	"boot.internal/templates"
)

// prepareControlPlane returns what a node needs to become a control plane: the
// authorities that all of them share, and what is made with them.
func (o JoinOptions) prepareControlPlane(pki *certs.PKI) []Step {
	pods := manifests{o.Config, o.Inputs, pki}
	var items []Step
	if o.Config.Cluster.Etcd.External == nil {
		items = itemSteps(pki.EtcdCerts())
	}
	items = append(items, itemSteps(pki.ClusterCerts())...)
	return slices.Concat(
		renamed("control-plane-prepare/certs", "Generate the certificates of the control plane", items),
		renamed("control-plane-prepare/kubeconfig", "Generate the kubeconfigs of the administrator and the components", o.ownKubeconfigs(pki)),
		renamed("control-plane-prepare/control-plane", "Generate the static Pod manifests of the control plane", []Step{
			{Phase: pods.of(templates.APIServer)}, {Phase: pods.of(templates.ControllerManager)}, {Phase: pods.of(templates.Scheduler)},
		}),
	)
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

// joinEtcd returns what makes this node's etcd a member of the cluster's.
func (o JoinOptions) joinEtcd(pki *certs.PKI) []Step { return nil }

// joinControlPlane returns what makes the node one of the control planes.
func (o JoinOptions) joinControlPlane(pki *certs.PKI) []Step {
	cfg := o.Config
	api := apiServer{certs.KubeconfigTree(o.Dirs.Kubernetes), localURL(cfg), limit(cfg.Init.Timeouts.KubernetesAPICall)}
	tree := certs.Tree(cfg.Cluster.CertificatesDir)
	return []Step{
		{"control-plane-join/mark-control-plane", "Label and taint the node as a control plane", markControlPlane{
			api, cfg.Init.NodeRegistration.Name, cfg.Init.NodeRegistration.Taints, limit(cfg.Init.Timeouts.KubeletHealthCheck),
		}},
		{"wait-control-plane", "Wait until the control plane is healthy", waitControlPlane{
			probes(cfg, api, tree), o.Components, o.Service, limit(cfg.Init.Timeouts.ControlPlaneComponentHealthCheck), time.Now(),
			loopLog{o.LoopLog, cfg.Init.NodeRegistration.Name},
		}},
	}
}
