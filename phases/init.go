package phases

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"boot.internal/certs"
	"boot.internal/config"
)

// Dirs are the directories whose place no document of kubeadm decides.
type Dirs struct {
	Kubernetes string // /etc/kubernetes
	Kubelet    string // /var/lib/kubelet
}

// DefaultDirs are where kubeadm and the kubelet keep their files.
func DefaultDirs() Dirs { return Dirs{Kubernetes: "/etc/kubernetes", Kubelet: "/var/lib/kubelet"} }

// InitOptions are the values the phases of "boot init" are built with.
type InitOptions struct {
	Config     *config.Init
	Dirs       Dirs
	Preflight  Phase      // checks and readies the host
	Service    Service    // runs the kubelet loop
	Components Components // looks at the control plane's containers
}

// Init returns the phases of "boot init" in the order of the work.
func Init(o InitOptions) ([]Step, error) {
	pki, err := pkiOptions(o.Config, o.Dirs)
	if err != nil {
		return nil, err
	}
	return initSteps(o, certs.New(pki)), nil
}

// InitPhases lists the phases of "boot init" for help and completion.
func InitPhases() []Entry {
	unasked := &config.Init{Init: config.InitConfiguration{Timeouts: &config.Timeouts{}}}
	return List(initSteps(InitOptions{Config: unasked}, certs.New(certs.Options{})))
}

// initSteps is the order of the work, which is made for the clock: whatever the
// loop can already start is handed over before later files are made.
func initSteps(o InitOptions, pki *certs.PKI) []Step {
	cfg, tree, api := o.Config, certs.Tree(o.Config.Cluster.CertificatesDir), o.api()
	return slices.Concat(
		[]Step{
			{"preflight", "Check this host and make it ready", o.Preflight},

			// The loop brings up the container engine and imports images while
			// the files below are made.
			{"kubelet-start", "Write the kubelet's configuration and start the kubelet loop", kubeletStart{cfg, o.Dirs.Kubelet, o.Service}},
		},

		// etcd needs the longest until something else can use it.
		unless(cfg.Cluster.Etcd.External != nil, itemSteps(pki.EtcdCerts())),
		itemSteps(pki.ClusterCerts()),
		itemSteps(pki.Kubeconfigs()),

		[]Step{
			{"wait-control-plane", "Wait until the control plane is healthy", waitControlPlane{
				probes(cfg, api, tree), o.Components, o.Service, limit(cfg.Init.Timeouts.ControlPlaneComponentHealthCheck),
			}},

			// From here on the API server is the one to talk to. The first
			// phase gives the administrator the right to.
			{"cluster-admins", "Give admin.conf the rights of an administrator", objects(api, clusterAdmins())},
			{"upload-config/kubeadm", "Store the ClusterConfiguration in a ConfigMap", uploadKubeadm(api, &cfg.Cluster)},
			{"upload-config/kubelet", "Store the KubeletConfiguration in a ConfigMap", uploadKubelet(api, cfg)},
		},
		unless(!cfg.UploadCerts, []Step{
			{"upload-certs", "Store the shared certificates, encrypted, in a Secret", uploadCerts{api, cfg.Init.CertificateKey, sharedFiles(tree, cfg.Cluster.Etcd.External)}},
		}),
		[]Step{
			{"mark-control-plane", "Label and taint the node as a control plane", markControlPlane{
				api, cfg.Init.NodeRegistration.Name, cfg.Init.NodeRegistration.Taints, limit(cfg.Init.Timeouts.KubeletHealthCheck),
			}},
			{"bootstrap-token", "Create the tokens and rules that let nodes join", bootstrapToken{
				api, cfg.Init.BootstrapTokens, cfg.TokenGenerated, tree.CA.Cert, sharedURL(cfg),
			}},
		},
	)
}

func (o InitOptions) api() apiServer {
	return apiServer{certs.KubeconfigTree(o.Dirs.Kubernetes), localURL(o.Config), limit(o.Config.Init.Timeouts.KubernetesAPICall)}
}

// unless keeps the steps by name, so that they can be listed and skipped, but
// gives them nothing to do if the configuration has no use for them.
func unless(useless bool, steps []Step) []Step {
	if !useless {
		return steps
	}
	for i := range steps {
		steps[i].Phase = PlanFunc(func(context.Context) ([]Change, error) { return nil, nil })
	}
	return steps
}

func limit(d *metav1.Duration) time.Duration { return ptr.Deref(d, metav1.Duration{}).Duration }
