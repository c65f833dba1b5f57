package e2e

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// However often join is ended, and wherever, the same command goes on from there,
// and the node is one node of the cluster.
func TestJoinInterrupted(t *testing.T) {
	m := newTeam(t)
	w := m.node(t, "worker")
	for _, c := range []struct {
		signal syscall.Signal
		at     []string // what join says when it gets the signal
	}{
		{syscall.SIGKILL, []string{"[preflight] note in"}},
		{syscall.SIGKILL, []string{"[kubelet-start] write /etc/kubernetes/pki/ca.crt"}},
		{syscall.SIGKILL, []string{"[kubelet-start] write /etc/kubernetes/bootstrap-kubelet.conf"}},
		{syscall.SIGKILL, []string{"[kubelet-start] write /var/lib/kubelet/config.yaml"}},
		{syscall.SIGKILL, []string{"[kubelet-start] start the kubelet loop"}},
		// The loop may have been quick.
		{syscall.SIGINT, []string{"[kubelet-wait-bootstrap] wait for", "[kubelet-wait-bootstrap] remove"}},
		{syscall.SIGKILL, []string{"[kubelet-wait-bootstrap] remove", "[addon/kube-proxy] write /var/lib/boot"}},
		{syscall.SIGKILL, []string{"[addon/kube-proxy] write /var/lib/boot", "[addon/kube-proxy] write /etc/kubernetes/manifests"}},
		{syscall.SIGKILL, []string{"[addon/kube-proxy] write /etc/kubernetes/manifests", "[addon/kube-proxy] done"}},
	} {
		t.Run(strings.Join([]string{c.signal.String(), "at", c.at[0]}, " "), func(t *testing.T) {
			cut(t, w, c.signal, m.join("-v", "1"), c.at...)
		})
	}
	w.Boot(t, m.join()...)
	nodeReady(t, m, "worker")
	checkWorkerFiles(t, w)
	client := m.head.Client(t, adminConf)
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Items {
		names = append(names, n.Name)
	}
	if diff := cmp.Diff([]string{"head", "worker"}, names); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	requests, err := client.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{
		FieldSelector: "spec.signerName=kubernetes.io/kube-apiserver-client-kubelet",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(requests.Items) == 0 || len(requests.Items) > 3 {
		t.Errorf("%d requests for the node's certificate", len(requests.Items))
	}
}
