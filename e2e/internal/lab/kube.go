package lab

import (
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// Client returns a client of the API server, with the rights of a kubeconfig of
// the node, such as /etc/kubernetes/admin.conf.
func (n *Node) Client(t testing.TB, kubeconfig string) *kubernetes.Clientset {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(n.ReadFile(t, kubeconfig)))
	if err != nil {
		t.Fatal(err)
	}
	config.Dial = n.Dial
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
