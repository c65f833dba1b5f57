package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// However often join is ended, and wherever, the same command goes on from there,
// and the node is one node of the cluster.
func TestJoinInterrupted(t *testing.T) {
	m := newTeam(t)
	w := m.node(t, "worker")
	killed := 0
	for killed < 12 && killAt(t, w, killed%3, m.join()...) {
		killed++
	}
	if killed < 3 {
		t.Errorf("it was killed %d times only", killed)
	}
	w.Boot(t, m.join()...)
	nodeReady(t, m, "worker")
	if tokens := w.Run(t, "find", "/etc/kubernetes", "-name", "*bootstrap*"); tokens != "" {
		t.Errorf("the token is still on the disk: %s", tokens)
	}
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
	if len(requests.Items) == 0 || len(requests.Items) > 1+killed {
		t.Errorf("%d requests for the node's certificate", len(requests.Items))
	}
}

// killAt kills boot at its next change, after some others, and tells whether that
// was in time.
func killAt(t *testing.T, n *lab.Node, after int, args ...string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := n.Command(ctx, append([]string{lab.BootBinary(t)}, args...)...)
	var said strings.Builder
	err := eachLine(n, cmd, func(line string) {
		said.WriteString(line + "\n")
		if !strings.HasPrefix(line, "[") || strings.Contains(line, "] done") {
			return
		}
		if after--; after < 0 {
			_ = cmd.Process.Kill() // it may have ended
		}
	})
	if err != nil && after >= 0 {
		t.Fatalf("it ended by itself: %v\n%s", err, said.String())
	}
	return err != nil
}
