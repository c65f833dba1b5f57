package templates

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"boot.internal/config"
	"boot.internal/network/flannel"
)

// PodNetwork returns the ConfigMap that tells all nodes how pods are connected,
// and what lets them read it and see each other. There is none where that is
// left to the user.
func PodNetwork(cfg *config.Init) ([]*unstructured.Unstructured, error) {
	backend := flannel.Backend(cfg.Boot.Flannel.Backend)
	switch cfg.Boot.Network {
	case config.NetworkNone:
		return nil, nil
	case config.NetworkBridge:
		backend = flannel.Alloc
	case config.NetworkFlannel:
	}
	pods, err := config.ParseSubnets(cfg.Cluster.Networking.PodSubnet)
	if err != nil {
		return nil, err
	}
	conf, err := flannel.Conf{ClusterCIDRs: pods, Backend: backend}.Marshal()
	if err != nil {
		return nil, err
	}
	return objects("addons/pod-network.yaml", documentData{conf})
}
