package templates

import (
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"boot.internal/config"
)

// ProxyConfigPath is where kube-proxy's pod reads its configuration from.
const ProxyConfigPath = "/var/lib/boot/kube-proxy/config.yaml"

// nodePKI holds the client certificate that the kubeconfig of a node names.
const nodePKI = "/var/lib/kubelet/pki"

// A Proxy is the static pod of kube-proxy and the configuration it reads.
type Proxy struct {
	Manifest

	// Config goes to [ProxyConfigPath], before the manifest is written.
	Config []byte
}

// KubeProxy returns the static pod of kube-proxy, which runs on every node and
// identifies as the node, so that it needs nothing from the API server but
// permission. It is up to the caller to ask whether cfg wants one at all.
func KubeProxy(cfg *config.Init, in Inputs) (Proxy, error) {
	c := *cfg.KubeProxy.DeepCopy()
	if c.Mode == "" {
		c.Mode = in.ProxyMode
	}
	if in.NestedNetwork && c.Conntrack.MaxPerCore == nil {
		c.Conntrack.MaxPerCore = ptr.To[int32](0) // the kernel refuses to resize it from here
	}
	if c.HostnameOverride == "" {
		c.HostnameOverride = cfg.Init.NodeRegistration.Name
	}
	data, err := config.MarshalKubeProxy(&c)
	if err != nil {
		return Proxy{}, err
	}
	p := newPod(cfg, config.ComponentProxy)
	p.Command = command("kube-proxy", []config.Arg{{Name: "config", Value: ProxyConfigPath}}, nil)
	p.Env = mergeEnv(in.ProxyEnv)
	lock := readOnly("xtables-lock", "/run/xtables.lock", corev1.HostPathFileOrCreate)
	lock.ReadOnly = false
	p = p.withMounts([]mount{
		readOnly("config", filepath.Dir(ProxyConfigPath), corev1.HostPathDirectory),
		readOnly("kubeconfig", config.NodeKubeconfig, corev1.HostPathFile),
		readOnly("lib-modules", "/lib/modules", corev1.HostPathUnset),
		readOnly("node-pki", nodePKI, corev1.HostPathDirectory),
		lock,
	}, nil)
	m, err := manifest(config.ComponentProxy, p, in, data)
	return Proxy{Manifest: m, Config: data}, err
}
