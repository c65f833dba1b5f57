package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/e2e/internal/lab"
)

// A fleet is a cluster of several nodes.
type fleet struct {
	lan     *lab.LAN
	cluster *lab.Cluster
	heads   []*lab.Node // control planes
	workers []*lab.Node
	client  *kubernetes.Clientset // of the first control plane, until reach
	hasty   *kubernetes.Clientset // gives up soon, after reach
}

// emptyFleet returns the nodes of a cluster that is still to be made: heads are
// cp1, cp2, …, and workers w1, w2, …
func emptyFleet(t testing.TB, heads, workers int) *fleet {
	t.Helper()
	f := &fleet{lan: lab.NewLAN(t), cluster: lab.NewCluster(lab.BootBinary(t))}
	for i := range heads {
		f.heads = append(f.heads, furnished(t, f.lan, fmt.Sprint("cp", i+1)))
	}
	for i := range workers {
		f.workers = append(f.workers, furnished(t, f.lan, fmt.Sprint("w", i+1)))
	}
	return f
}

// newFleet returns a cluster whose nodes are all Ready.
func newFleet(t testing.TB, heads, workers int) *fleet {
	t.Helper()
	f := emptyFleet(t, heads, workers)
	f.make(t)
	f.awaitNodes(t, f.nodes()...)
	return f
}

// make makes the cluster of its nodes.
func (f *fleet) make(t testing.TB) {
	t.Helper()
	said := new(bytes.Buffer)
	if err := f.cluster.Init(t.Context(), f.heads[0], said); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	f.client = f.heads[0].Client(t, adminConf)
	f.join(t, f.heads[1:], f.workers)
}

func (f *fleet) nodes() []*lab.Node { return slices.Concat(f.heads, f.workers) }

// join has nodes join, all at once.
func (f *fleet) join(t testing.TB, heads, workers []*lab.Node) {
	t.Helper()
	said := new(bytes.Buffer)
	if err := f.cluster.Join(t.Context(), said, heads, workers); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

// awaitNodes waits until nodes are Ready, and their proxies as well.
func (f *fleet) awaitNodes(t testing.TB, nodes ...*lab.Node) {
	t.Helper()
	for _, n := range nodes {
		lab.Until(t, 2*patience, "see "+n.Name+" Ready", func(ctx context.Context) error {
			node, err := f.client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := nodeCondition(node, corev1.NodeReady, corev1.ConditionTrue); err != nil {
				return err
			}
			return ready(ctx, f.client, "kube-proxy-"+n.Name)
		})
	}
}

// nodeCondition returns how a condition of a node differs from what it should be.
func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType, want corev1.ConditionStatus) error {
	for _, c := range n.Status.Conditions {
		if c.Type != kind {
			continue
		}
		if c.Status != want {
			return fmt.Errorf("%s of node %s is %s: %s", kind, n.Name, c.Status, c.Message)
		}
		return nil
	}
	return fmt.Errorf("node %s does not tell of %s", n.Name, kind)
}
