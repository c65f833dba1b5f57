package config

import (
	"fmt"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
	"sigs.k8s.io/yaml"
)

// Marshal returns the document as kubeadm stores it in the ConfigMap
// kubeadm-config, under the key ClusterConfiguration.
func (c *ClusterConfiguration) Marshal() ([]byte, error) {
	return marshal(c, kindCluster)
}

// MarshalKubelet returns the document as kubeadm stores it in the ConfigMap
// kubelet-config, under the key kubelet, and writes it for the kubelet.
func MarshalKubelet(k *kubeletv1beta1.KubeletConfiguration) ([]byte, error) {
	return marshal(k, kindKubelet)
}

// MarshalKubeProxy returns the document as kube-proxy reads it.
func MarshalKubeProxy(p *kubeproxyv1alpha1.KubeProxyConfiguration) ([]byte, error) {
	return marshal(p, kindKubeProxy)
}

// Marshal returns the document as boot reads it.
func (b *BootConfiguration) Marshal() ([]byte, error) {
	return marshal(b, kindBoot)
}

func marshal(document any, kind string) ([]byte, error) {
	data, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return data, nil
}
