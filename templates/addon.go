package templates

import (
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"boot.internal/config"
)

// CoreDNS returns the objects of the DNS add-on, in the order to apply them.
// There are none if the user wants none.
func CoreDNS(cfg *config.Init, p Patches) ([]*unstructured.Unstructured, error) {
	if cfg.Cluster.DNS.Disabled {
		return nil, nil
	}
	address, err := cfg.Cluster.Networking.ServiceAddress(config.DNSServiceIndex)
	if err != nil {
		return nil, fmt.Errorf("find the address of DNS: %w", err)
	}
	out, err := objects("addons/coredns.yaml", struct{ Domain, Address, Image string }{
		cfg.Cluster.Networking.DNSDomain, address.String(), cfg.Cluster.Image(config.ComponentCoreDNS),
	})
	if err != nil {
		return nil, err
	}
	for _, o := range out {
		if o.GetKind() != "Deployment" {
			continue
		}
		if err := patchObject(o, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func patchObject(o *unstructured.Unstructured, p Patches) error {
	raw, err := o.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode %s: %w", targetCoreDNS, err)
	}
	if raw, err = p.Apply(targetCoreDNS, raw, appsv1.Deployment{}); err != nil {
		return err
	}
	if err := errors.Join(decode(raw, &appsv1.Deployment{}), o.UnmarshalJSON(raw)); err != nil {
		return fmt.Errorf("decode patched %s: %w", targetCoreDNS, err)
	}
	return nil
}

// ProxyRBAC returns what lets nodes, and so their kube-proxies, see Services.
func ProxyRBAC() ([]*unstructured.Unstructured, error) {
	return objects("addons/kube-proxy.yaml", nil)
}

// ClusterAdmins returns what makes admin.conf powerful.
func ClusterAdmins() ([]*unstructured.Unstructured, error) {
	return objects("addons/cluster-admins.yaml", nil)
}

// BootstrapTokenRBAC returns what lets the bearers of bootstrap tokens become
// nodes, and nodes renew their certificates.
func BootstrapTokenRBAC() ([]*unstructured.Unstructured, error) {
	return objects("addons/bootstrap-token.yaml", nil)
}

// ClusterInfo returns the ConfigMap cluster-info, and what lets everyone read
// it. The kubeconfig holds the cluster's address and authority alone.
func ClusterInfo(kubeconfig []byte) ([]*unstructured.Unstructured, error) {
	return objects("addons/cluster-info.yaml", document(kubeconfig))
}

// KubeadmConfig returns the ConfigMap kubeadm-config, and what lets joining
// nodes read it.
func KubeadmConfig(cfg *config.Init) ([]*unstructured.Unstructured, error) {
	data, err := cfg.Cluster.Marshal()
	if err != nil {
		return nil, err
	}
	return objects("addons/kubeadm-config.yaml", document(data))
}

// KubeletConfig returns the ConfigMap kubelet-config, and what lets joining
// nodes read it.
func KubeletConfig(cfg *config.Init) ([]*unstructured.Unstructured, error) {
	data, err := config.MarshalKubelet(&cfg.Kubelet)
	if err != nil {
		return nil, err
	}
	return objects("addons/kubelet-config.yaml", document(data))
}

// BootConfig returns the ConfigMap boot-config, and what lets joining nodes read
// it: what is boot's own, and the configuration of kube-proxy, which in clusters of
// kubeadm comes with a DaemonSet.
func BootConfig(cfg *config.Init) ([]*unstructured.Unstructured, error) {
	own, err := cfg.Boot.Marshal()
	if err != nil {
		return nil, err
	}
	proxy, err := config.MarshalKubeProxy(&cfg.KubeProxy)
	if err != nil {
		return nil, err
	}
	return objects("addons/boot-config.yaml", struct {
		Name string
		Data map[string]string
	}{config.BootConfigMap, map[string]string{config.BootConfigMapBoot: string(own), config.BootConfigMapProxy: string(proxy)}})
}

// documentData is what the templates of ConfigMaps are filled with.
type documentData struct{ Document string }

func document(data []byte) documentData { return documentData{string(data)} }

// objects renders a template and returns its documents.
func objects(name string, data any) ([]*unstructured.Unstructured, error) {
	raw, err := render(name, data)
	if err != nil {
		return nil, err
	}
	docs, err := splitYAML(raw)
	if err != nil {
		return nil, fmt.Errorf("split %s: %w", name, err)
	}
	out := make([]*unstructured.Unstructured, 0, len(docs))
	for _, doc := range docs {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(doc); err != nil {
			return nil, fmt.Errorf("decode %s: %w", name, err)
		}
		out = append(out, o)
	}
	return out, nil
}
