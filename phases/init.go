package phases

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"boot.internal/certs"
	"boot.internal/config"
	"boot.internal/templates"
)

// Dirs are the places no document of kubeadm decides.
type Dirs struct {
	Kubernetes  string // directory of the kubeconfigs: /etc/kubernetes
	Kubelet     string // directory of the kubelet: /var/lib/kubelet
	ProxyConfig string // file kube-proxy reads: templates.ProxyConfigPath
	State       string // directory of what boot keeps for itself: /var/lib/boot
}

// DefaultDirs are where everything is outside of tests.
func DefaultDirs() Dirs {
	return Dirs{Kubernetes: "/etc/kubernetes", Kubelet: "/var/lib/kubelet", ProxyConfig: templates.ProxyConfigPath, State: "/var/lib/boot"}
}

// InitOptions are the values the phases of "boot init" are built with.
type InitOptions struct {
	Config *config.Init
	Dirs   Dirs
	// Inputs are the facts of this host and the patches that static pods depend
	// on. What depends on certificates is left out: the phases know.
	Inputs     templates.Inputs
	Preflight  Phase      // checks the host and makes it ready
	Service    Service    // runs the kubelet loop
	Components Components // looks at the control plane's containers
	LoopLog    LoopLog    // what the loop logs to
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
	pods, externalEtcd := manifests{cfg, o.Inputs, pki}, cfg.Cluster.Etcd.External != nil
	timeouts, node := cfg.Init.Timeouts, cfg.Init.NodeRegistration
	wait := &waitControlPlane{
		probes: probes(cfg, api, tree), components: o.Components, service: o.Service,
		timeout: limit(timeouts.ControlPlaneComponentHealthCheck), begun: time.Now(),
		log: o.LoopLog, node: node.Name,
	}
	return slices.Concat(
		[]Step{
			{"preflight", "Check this host and make it ready", o.Preflight},

			// The loop brings up the container engine and imports images while
			// the files below are made.
			{"kubelet-start", "Write the kubelet's configuration and start the kubelet loop", kubeletStart{cfg, o.Inputs.Patches, o.Dirs.Kubelet, o.Service, ownServer(cfg), nil}},
		},

		// etcd comes up first, and needs nothing else: its files come first.
		unless(externalEtcd, itemSteps(pki.EtcdCerts())),
		unless(externalEtcd, []Step{{"etcd/local", "Generate the static Pod manifest of etcd", pods.etcd()}}),

		// The API server takes longest. What others need from here on is made
		// while it starts.
		itemSteps(pki.ClusterCerts()),
		[]Step{{"control-plane/apiserver", "Generate the static Pod manifest of kube-apiserver", pods.of(templates.APIServer)}},
		itemSteps(pki.Kubeconfigs()),

		// The others would only be in its way until it has made their rights: they
		// ask, are refused, and wait for seconds before they ask again.
		[]Step{
			{"wait-control-plane", "Wait until the control plane is healthy", wait.forAPIServer()},
			{"control-plane/controller-manager", "Generate the static Pod manifest of kube-controller-manager", pods.of(templates.ControllerManager)},
			{"control-plane/scheduler", "Generate the static Pod manifest of kube-scheduler", pods.of(templates.Scheduler)},
		},
		// kube-proxy identifies as the node and waits for the API server by
		// itself, so its pod need not come after it; its rights do.
		unless(cfg.Cluster.Proxy.Disabled, []Step{{"addon/kube-proxy", "Install kube-proxy", pods.proxy(o.Dirs.ProxyConfig)}}),

		[]Step{
			// The loop looks for it from now on, and needs it once the controller
			// manager has given the node its range.
			{"addon/network", "Tell nodes how pods are connected", stored(api, func() ([]*unstructured.Unstructured, error) { return templates.PodNetwork(cfg) })},
			{"wait-control-plane", "Wait until the control plane is healthy", wait},

			// From here on the work is done in the cluster. Things that other
			// things wait for come first: nodes for their rights, people for
			// theirs, DNS to be scheduled and started.
			{"cluster-admins", "Give admin.conf the rights of an administrator", stored(api, templates.ClusterAdmins)},
		},
		unless(cfg.Cluster.Proxy.Disabled, []Step{{"addon/kube-proxy", "Install kube-proxy", stored(api, templates.ProxyRBAC)}}),
		[]Step{
			{"addon/coredns", "Install CoreDNS", coreDNS(api, cfg, o.Inputs.Patches)},
			{"upload-config/kubeadm", "Store the ClusterConfiguration in a ConfigMap", stored(api, func() ([]*unstructured.Unstructured, error) { return templates.KubeadmConfig(cfg) })},
			{"upload-config/kubelet", "Store the KubeletConfiguration in a ConfigMap", stored(api, func() ([]*unstructured.Unstructured, error) { return templates.KubeletConfig(cfg) })},
			{"upload-config/boot", "Store what only boot knows of in a ConfigMap", stored(api, func() ([]*unstructured.Unstructured, error) { return templates.BootConfig(cfg) })},
		},
		unless(!cfg.UploadCerts, []Step{
			{"upload-certs", "Store the shared certificates, encrypted, in a Secret", uploadCerts{api, cfg.Init.CertificateKey, sharedFiles(tree, cfg.Cluster.Etcd.External)}},
		}),
		[]Step{
			{"bootstrap-token", "Create the tokens and rules that let nodes join", bootstrapToken{
				api, cfg.Init.BootstrapTokens, cfg.TokenGenerated, tree.CA.Cert, SharedURL(cfg),
			}},
			{"kubelet-finalize/enable-client-cert-rotation", "Let kubelet.conf name the client certificate that is renewed", clientRotation{
				certs.KubeconfigTree(o.Dirs.Kubernetes).Kubelet, certs.KubeletTree(filepath.Join(o.Dirs.Kubelet, "pki")).Client,
			}},
			{"kubelet-finalize/approve-serving-certs", "Let this node approve the serving certificates of kubelets", stored(api, func() ([]*unstructured.Unstructured, error) { return templates.ServingApprover(node.Name) })},
			{"mark-control-plane", "Label and taint the node as a control plane", markControlPlane{
				api, node.Name, node.Taints, limit(timeouts.KubeletHealthCheck),
			}},
		},
	)
}

func (o InitOptions) api() apiServer {
	return localAPI(o.Config, o.Dirs)
}

// localAPI is this node's API server.
func localAPI(cfg *config.Init, dirs Dirs) apiServer {
	return apiServer{
		kubeconfigs: certs.KubeconfigTree(dirs.Kubernetes), url: localURL(cfg), timeout: limit(cfg.Init.Timeouts.KubernetesAPICall),
	}
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
