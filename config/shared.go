package config

import (
	"fmt"
	"net"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

// Shared is what a cluster tells the nodes that join it.
type Shared struct {
	// Cluster is that of the ConfigMap kubeadm-config.
	Cluster ClusterConfiguration
	// Kubelet is that of the ConfigMap kubelet-config.
	Kubelet kubeletv1beta1.KubeletConfiguration
	// KubeProxy is nil where boot did not make the cluster: there, somebody else
	// sees to kube-proxy.
	KubeProxy *kubeproxyv1alpha1.KubeProxyConfiguration
	// Boot is nil where boot did not make the cluster: there, somebody else
	// connects the pods.
	Boot *BootConfiguration
}

// SharedDocuments are the texts that [Shared] is made of, as a cluster stores
// them; the last two may be missing.
type SharedDocuments struct{ Cluster, Kubelet, KubeProxy, Boot string }

// DecodeShared reads what a cluster stores. What was written by another version
// may say more than this one understands, and that is no reason to stay away.
func DecodeShared(d SharedDocuments) (*Shared, error) {
	s := &Shared{}
	if err := decodeStored(kindCluster, KubeadmAPIVersion, d.Cluster, &s.Cluster); err != nil {
		return nil, err
	}
	if err := decodeStored(kindKubelet, KubeletAPIVersion, d.Kubelet, &s.Kubelet); err != nil {
		return nil, err
	}
	if d.KubeProxy != "" {
		s.KubeProxy = &kubeproxyv1alpha1.KubeProxyConfiguration{}
		if err := decodeStored(kindKubeProxy, KubeProxyAPIVersion, d.KubeProxy, s.KubeProxy); err != nil {
			return nil, err
		}
	}
	if d.Boot != "" {
		s.Boot = &BootConfiguration{}
		if err := decodeStored(kindBoot, BootAPIVersion, d.Boot, s.Boot); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func decodeStored(kind, apiVersion, text string, into any) error {
	var is struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal([]byte(text), &is); err != nil {
		return fmt.Errorf("decode the cluster's %s: %w", kind, err)
	}
	if is.Kind != kind || is.APIVersion != apiVersion {
		return fmt.Errorf("decode the cluster's %s: it is a %q of version %q, and not of %s", kind, is.Kind, is.APIVersion, apiVersion)
	}
	if err := yaml.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("decode the cluster's %s: %w", kind, err)
	}
	return nil
}

// Unasked is what is assumed of a cluster before it was asked: all is default.
func Unasked() Shared {
	return Shared{KubeProxy: &kubeproxyv1alpha1.KubeProxyConfiguration{}, Boot: &BootConfiguration{}}
}

// Node returns the configuration of this node as a member of a cluster, in the
// form of an [Init], which is that of the first node. Server is an API server of
// the cluster, "host:port": on a host without a default route, the node has the
// address that leads there. It may be empty.
func (j *Join) Node(s Shared, server string) *Init {
	i := &Init{Cluster: s.Cluster, Kubelet: *s.Kubelet.DeepCopy(), Boot: j.node(s.Boot)}
	if s.KubeProxy != nil {
		i.KubeProxy = *s.KubeProxy.DeepCopy()
	} else {
		i.Cluster.Proxy.Disabled = true
	}
	c := j.Join
	i.Init = InitConfiguration{
		DryRun: c.DryRun, NodeRegistration: c.NodeRegistration, SkipPhases: c.SkipPhases, Patches: c.Patches, Timeouts: c.Timeouts,
	}
	if m := c.ControlPlane; m != nil {
		i.Init.LocalAPIEndpoint, i.Init.CertificateKey = m.LocalAPIEndpoint, m.CertificateKey
		if i.Init.NodeRegistration.Taints == nil {
			i.Init.NodeRegistration.Taints = []corev1.Taint{{Key: controlPlaneLabel, Effect: corev1.TaintEffectNoSchedule}}
		}
	}
	i.setTypes()
	i.Init.LocalAPIEndpoint.setDefaults(j.host)
	if i.Init.LocalAPIEndpoint.AdvertiseAddress == "" {
		i.Init.LocalAPIEndpoint.AdvertiseAddress = sourceFor(server)
	}
	i.Cluster.setDefaults()
	i.defaultNetworking()
	i.defaultKubelet()
	i.defaultKubeProxy()
	return i
}

// node returns what boot does on this node: what the user wants, then what the
// cluster has, then the defaults. The pods of a cluster that boot did not make
// are connected by others.
func (j *Join) node(cluster *BootConfiguration) BootConfiguration {
	b := j.Boot
	if cluster == nil {
		setDefault(&b.Network, NetworkNone)
	} else {
		setDefault(&b.Network, cluster.Network)
	}
	b.setDefaults()
	return b
}

// sourceFor returns the address of this host that packets to server leave from,
// empty if none do. Nothing is sent.
func sourceFor(server string) string {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return ""
	}
	defer func() { _ = conn.Close() }()
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return from.Addr().Unmap().String()
}
