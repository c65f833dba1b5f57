package config

import (
	"net/netip"
	"path/filepath"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// NodeKubeconfig is what a node's kubelet and kube-proxy identify with.
const NodeKubeconfig = "/etc/kubernetes/kubelet.conf"

// kubeadmProxyKubeconfig is where kubeadm mounts that of kube-proxy; files
// that kubeadm printed have it.
const kubeadmProxyKubeconfig = "/var/lib/kube-proxy/kubeconfig.conf"

// defaultKubelet fills in what the kubelets of the cluster must agree on.
// The engine's socket, the cgroup driver and the resolver are left to each
// node: they differ from node to node, and this document is for all of them.
func (i *Init) defaultKubelet() {
	k := &i.Kubelet
	setDefault(&k.StaticPodPath, DefaultManifestsDir)
	setDefault(&k.ClusterDomain, i.Cluster.Networking.DNSDomain)
	if k.ClusterDNS == nil {
		if dns, err := i.Cluster.Networking.ServiceAddress(DNSServiceIndex); err == nil {
			k.ClusterDNS = []string{dns.String()} // else validation speaks of the subnet
		}
	}
	if dir := i.Cluster.CertificatesDir; filepath.IsAbs(dir) { // else one complaint is enough
		setDefault(&k.Authentication.X509.ClientCAFile, filepath.Join(dir, "ca.crt"))
	}
	setDefaultPtr(&k.Authentication.Anonymous.Enabled, false)
	setDefaultPtr(&k.Authentication.Webhook.Enabled, true)
	setDefault(&k.Authorization.Mode, kubeletv1beta1.KubeletAuthorizationModeWebhook)
	setDefault(&k.HealthzBindAddress, "127.0.0.1")
	setDefaultPtr(&k.HealthzPort, 10248)
	k.RotateCertificates = true
}

// defaultKubeProxy fills in what follows from the cluster. The mode is left to
// each node, which knows what its kernel can do.
func (i *Init) defaultKubeProxy() {
	p := &i.KubeProxy
	wildcard := "0.0.0.0"
	if a, err := netip.ParseAddr(i.Init.LocalAPIEndpoint.AdvertiseAddress); err == nil && a.Is6() {
		wildcard = "::"
	}
	setDefault(&p.BindAddress, wildcard)
	setDefault(&p.ClusterCIDR, i.Cluster.Networking.PodSubnet)
	if k := p.ClientConnection.Kubeconfig; k != "" && k != NodeKubeconfig && k != kubeadmProxyKubeconfig {
		i.warn("KubeProxyConfiguration: clientConnection.kubeconfig is not honoured: kube-proxy identifies as its node")
	}
	p.ClientConnection.Kubeconfig = NodeKubeconfig
}

func setDefaultPtr[T any](field **T, value T) {
	if *field == nil {
		*field = new(value)
	}
}
