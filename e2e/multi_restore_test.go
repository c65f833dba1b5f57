package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// goBack takes one of three control planes back to a snapshot, while another is dead
// and the third is alive: the cluster goes on with the one alone, workers and pods
// without a break, until the third has joined again.
func (f *fleet) goBack(t *testing.T, m *mesh) {
	head, second, dead, worker := f.heads[0], f.heads[1], f.heads[2], f.workers[0]
	back := []string{"etcd", "snapshot", "restore", "--yes", "/root/then.db"}
	m.AwaitReady(t, "on-"+worker.Name)
	head.Boot(t, "etcd", "snapshot", "save", "/root/then.db")
	head.Kubectl(t, "create", "configmap", "since")
	out, err := head.Try(t.Context(), append([]string{lab.BootBinary(t)}, back...)...)
	if err != nil || out.Code == 0 || !strings.Contains(out.Stderr, "etcd has other members: cp2, cp3") || !strings.Contains(out.Stderr, "--new-cluster") {
		t.Fatalf("with others: %v %+v", err, out)
	}
	before := m.container(t, worker)
	lab.Must(t, dead.PowerOff())
	said := head.Boot(t, append(back, "--new-cluster")...)
	if !strings.Contains(said, "have no part in it any more: cp2, cp3.") {
		t.Errorf("it says %s", said)
	}
	f.awaitMembers(t, head)
	f.awaitThen(t, head)
	if after := m.container(t, worker); after != before {
		t.Error("the pod of a worker was started anew")
	}
	second.Boot(t, "reset", "--force", "--delete-node")
	f.join(t, []*lab.Node{second}, nil)
	f.forget(t, dead)
	f.heads = f.heads[:2]
	f.awaitMembers(t, f.heads...)
	f.awaitNodes(t, f.nodes()...)
}

// awaitThen waits until a worker sees the cluster as it was, at the one API server
// that is left.
func (f *fleet) awaitThen(t *testing.T, head *lab.Node) {
	t.Helper()
	lab.Until(t, 2*patience, "see the cluster as it was", func(ctx context.Context) error {
		if _, err := f.client.CoreV1().ConfigMaps("default").Get(ctx, "since", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("what was made since: %w", err)
		}
		known, err := f.client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if n := len(known.Endpoints); n != 1 || known.Endpoints[0].Addresses[0] != head.IP.String() {
			return fmt.Errorf("%d API servers: %v", n, known.Endpoints)
		}
		return nil
	})
}
