package phases

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
)

// clusterInfo returns the ConfigMap that tells which CA to trust. The controller
// manager signs it for every token.
func clusterInfo(caPath, server string) (*corev1.ConfigMap, error) {
	ca, err := os.ReadFile(caPath)
	if err != nil {
		return nil, err
	}
	kubeconfig, err := clientcmd.Write(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"": {Server: server, CertificateAuthorityData: ca}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode the ConfigMap %s: %w", bootstrapapi.ConfigMapClusterInfo, err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespacePublic, Name: bootstrapapi.ConfigMapClusterInfo},
		Data:       map[string]string{bootstrapapi.KubeConfigKey: string(kubeconfig)},
	}, nil
}

// clusterInfoRules let anyone read it: who joins is nobody yet.
func clusterInfoRules() []runtime.Object {
	return readable(metav1.NamespacePublic, "kubeadm:bootstrap-signer-clusterinfo",
		"configmaps", bootstrapapi.ConfigMapClusterInfo, user("system:anonymous"))
}
