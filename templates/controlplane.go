package templates

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"boot.internal/config"
)

// The ports and kubeconfigs of the components.
const (
	controllerManagerPort       = 10257
	schedulerPort               = 10259
	controllerManagerKubeconfig = "/etc/kubernetes/controller-manager.conf"
	schedulerKubeconfig         = "/etc/kubernetes/scheduler.conf"
)

// ControlPlane returns the static pods of a control plane in the order to start
// them: etcd, unless it is external, and what needs it.
func ControlPlane(cfg *config.Init, in Inputs) ([]Manifest, error) {
	renderers := []func(*config.Init, Inputs) (Manifest, error){APIServer, ControllerManager, Scheduler}
	if cfg.Cluster.Etcd.External == nil {
		renderers = slices.Insert(renderers, 0, Etcd)
	}
	var out []Manifest
	for _, render := range renderers {
		m, err := render(cfg, in)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// APIServer returns the static pod of kube-apiserver.
func APIServer(cfg *config.Init, in Inputs) (Manifest, error) {
	c, at := cfg.Cluster, cfg.Init.LocalAPIEndpoint
	p := newPod(cfg, config.ComponentAPIServer)
	p.Command = command("kube-apiserver", apiServerArgs(cfg), c.APIServer.ExtraArgs)
	p.Env = mergeEnv(in.ProxyEnv, c.APIServer.ExtraEnvs)
	p.Annotations = map[string]string{advertiseAddressAnnotation: hostPort(at.AdvertiseAddress, at.BindPort)}
	p.Probe = endpoint{Host: probeHost(at.AdvertiseAddress), Port: at.BindPort, Scheme: corev1.URISchemeHTTPS}
	mounts := append(caMounts(in.CACertDirs), readOnly("k8s-certs", c.CertificatesDir, corev1.HostPathDirectoryOrCreate))
	if e := c.Etcd.External; e != nil {
		mounts = append(mounts, etcdMounts(e, append(slices.Clone(in.CACertDirs), c.CertificatesDir))...)
	}
	return manifest(config.ComponentAPIServer, p.withMounts(mounts, c.APIServer.ExtraVolumes), in)
}

func apiServerArgs(cfg *config.Init) []config.Arg {
	c, at := cfg.Cluster, cfg.Init.LocalAPIEndpoint
	file := func(name string) string { return filepath.Join(c.CertificatesDir, name) }
	args := []config.Arg{
		{Name: "advertise-address", Value: at.AdvertiseAddress},
		{Name: "secure-port", Value: strconv.Itoa(int(at.BindPort))},
		{Name: "service-cluster-ip-range", Value: c.Networking.ServiceSubnet},
		{Name: "allow-privileged", Value: "true"},
		{Name: "enable-admission-plugins", Value: "NodeRestriction"},
		{Name: "enable-bootstrap-token-auth", Value: "true"},
		{Name: "service-account-issuer", Value: "https://kubernetes.default.svc." + c.Networking.DNSDomain},
		{Name: "service-account-key-file", Value: file("sa.pub")},
		{Name: "service-account-signing-key-file", Value: file("sa.key")},
		{Name: "client-ca-file", Value: file("ca.crt")},
		{Name: "tls-cert-file", Value: file("apiserver.crt")},
		{Name: "tls-private-key-file", Value: file("apiserver.key")},
		{Name: "kubelet-client-certificate", Value: file("apiserver-kubelet-client.crt")},
		{Name: "kubelet-client-key", Value: file("apiserver-kubelet-client.key")},
		{Name: "kubelet-preferred-address-types", Value: "InternalIP,ExternalIP,Hostname"},
		{Name: "requestheader-client-ca-file", Value: file("front-proxy-ca.crt")},
		{Name: "requestheader-allowed-names", Value: "front-proxy-client"},
		{Name: "requestheader-username-headers", Value: "X-Remote-User"},
		{Name: "requestheader-group-headers", Value: "X-Remote-Group"},
		{Name: "requestheader-extra-headers-prefix", Value: "X-Remote-Extra-"},
		{Name: "proxy-client-cert-file", Value: file("front-proxy-client.crt")},
		{Name: "proxy-client-key-file", Value: file("front-proxy-client.key")},
	}
	// The modes are either flags or a file.
	if _, structured := config.ArgValue(c.APIServer.ExtraArgs, "authorization-config"); !structured {
		args = append(args, config.Arg{Name: "authorization-mode", Value: "Node,RBAC"})
	}
	return append(args, etcdClientArgs(cfg)...)
}

// etcdClientArgs say how the API server reaches etcd: the member of its own
// node, unless etcd is external or the user moved the member.
func etcdClientArgs(cfg *config.Init) []config.Arg {
	if e := cfg.Cluster.Etcd.External; e != nil {
		args := []config.Arg{{Name: "etcd-servers", Value: strings.Join(e.Endpoints, ",")}}
		if e.CAFile != "" {
			args = append(args, config.Arg{Name: "etcd-cafile", Value: e.CAFile})
		}
		if e.CertFile != "" && e.KeyFile != "" {
			args = append(args, config.Arg{Name: "etcd-certfile", Value: e.CertFile}, config.Arg{Name: "etcd-keyfile", Value: e.KeyFile})
		}
		return args
	}
	servers := "https://" + hostPort(localhost(cfg), etcdClientPort)
	if urls, ok := config.ArgValue(cfg.Cluster.Etcd.Local.ExtraArgs, "advertise-client-urls"); ok {
		servers = urls
	}
	file := func(name string) string { return filepath.Join(cfg.Cluster.CertificatesDir, name) }
	return []config.Arg{
		{Name: "etcd-servers", Value: servers},
		{Name: "etcd-cafile", Value: file("etcd/ca.crt")},
		{Name: "etcd-certfile", Value: file("apiserver-etcd-client.crt")},
		{Name: "etcd-keyfile", Value: file("apiserver-etcd-client.key")},
	}
}

// ControllerManager returns the static pod of kube-controller-manager.
func ControllerManager(cfg *config.Init, in Inputs) (Manifest, error) {
	c := cfg.Cluster
	p := newPod(cfg, config.ComponentControllerManager)
	p.Command = command("kube-controller-manager", controllerManagerArgs(cfg, in), c.ControllerManager.ExtraArgs)
	p.Env = mergeEnv(in.ProxyEnv, c.ControllerManager.ExtraEnvs)
	p.Probe = localEndpoint(c.ControllerManager.ExtraArgs, controllerManagerPort)
	mounts := append(caMounts(in.CACertDirs),
		readOnly("k8s-certs", c.CertificatesDir, corev1.HostPathDirectoryOrCreate),
		readOnly("kubeconfig", controllerManagerKubeconfig, corev1.HostPathFileOrCreate))
	return manifest(config.ComponentControllerManager, p.withMounts(mounts, c.ControllerManager.ExtraVolumes), in)
}

func controllerManagerArgs(cfg *config.Init, in Inputs) []config.Arg {
	c := cfg.Cluster
	file := func(name string) string { return filepath.Join(c.CertificatesDir, name) }
	signCert, signKey := cmp.Or(in.SigningCert, file("ca.crt")), file("ca.key")
	if in.ExternalCA {
		signCert, signKey = "", "" // so that the signing controllers do not start
	}
	args := append(kubeconfigArgs(controllerManagerKubeconfig),
		config.Arg{Name: "client-ca-file", Value: file("ca.crt")},
		config.Arg{Name: "root-ca-file", Value: file("ca.crt")},
		config.Arg{Name: "requestheader-client-ca-file", Value: file("front-proxy-ca.crt")},
		config.Arg{Name: "service-account-private-key-file", Value: file("sa.key")},
		config.Arg{Name: "cluster-signing-cert-file", Value: signCert},
		config.Arg{Name: "cluster-signing-key-file", Value: signKey},
		config.Arg{Name: "use-service-account-credentials", Value: "true"},
		config.Arg{Name: "controllers", Value: "*,bootstrapsigner,tokencleaner"},
		config.Arg{Name: "cluster-name", Value: c.ClusterName},
		// By default its controllers wait for each other for seconds before any of
		// them starts: each first makes its own service account and token.
		config.Arg{Name: "kube-api-qps", Value: "100"},
		config.Arg{Name: "kube-api-burst", Value: "200"})
	if c.Networking.PodSubnet != "" {
		args = append(args,
			config.Arg{Name: "allocate-node-cidrs", Value: "true"},
			config.Arg{Name: "cluster-cidr", Value: c.Networking.PodSubnet},
			config.Arg{Name: "service-cluster-ip-range", Value: c.Networking.ServiceSubnet})
	}
	return args
}

// Scheduler returns the static pod of kube-scheduler.
func Scheduler(cfg *config.Init, in Inputs) (Manifest, error) {
	c := cfg.Cluster
	p := newPod(cfg, config.ComponentScheduler)
	p.Command = command("kube-scheduler", kubeconfigArgs(schedulerKubeconfig), c.Scheduler.ExtraArgs)
	p.Env = mergeEnv(in.ProxyEnv, c.Scheduler.ExtraEnvs)
	p.Probe = localEndpoint(c.Scheduler.ExtraArgs, schedulerPort)
	mounts := []mount{readOnly("kubeconfig", schedulerKubeconfig, corev1.HostPathFileOrCreate)}
	return manifest(config.ComponentScheduler, p.withMounts(mounts, c.Scheduler.ExtraVolumes), in)
}

// kubeconfigArgs are the flags of components that serve on loopback and are
// clients of the API server, one of them at a time.
func kubeconfigArgs(kubeconfig string) []config.Arg {
	return []config.Arg{
		{Name: "bind-address", Value: "127.0.0.1"},
		{Name: "leader-elect", Value: "true"},
		{Name: "kubeconfig", Value: kubeconfig},
		{Name: "authentication-kubeconfig", Value: kubeconfig},
		{Name: "authorization-kubeconfig", Value: kubeconfig},
	}
}

// localEndpoint is where a component is probed that serves on loopback unless
// the user binds it elsewhere.
func localEndpoint(extra []config.Arg, port int32) endpoint {
	host := "127.0.0.1"
	if bind, ok := config.ArgValue(extra, "bind-address"); ok {
		host = probeHost(bind)
	}
	return endpoint{Host: host, Port: port, Scheme: corev1.URISchemeHTTPS}
}
