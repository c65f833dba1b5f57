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

// clusterInfo returns the ConfigMap anyone may read to learn which CA to trust,
// and the right to. The controller manager signs it for every token.
func clusterInfo(caPath, server string) ([]runtime.Object, error) {
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
	const namespace, name = metav1.NamespacePublic, bootstrapapi.ConfigMapClusterInfo
	return append([]runtime.Object{&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{bootstrapapi.KubeConfigKey: string(kubeconfig)},
	}}, readable(namespace, "kubeadm:bootstrap-signer-clusterinfo", "configmaps", name, user("system:anonymous"))...), nil
}
