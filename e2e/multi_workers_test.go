package e2e

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// TestWorkers has one control plane and workers that come and go.
func TestWorkers(t *testing.T) {
	f := newFleet(t, 1, 2)
	var m *mesh
	t.Run("pods, Services and names across nodes", func(t *testing.T) {
		m = newMesh(t, f, f.heads[0], f.nodes()...)
		m.check(t)
	})
	if m == nil || t.Failed() {
		return
	}
	t.Run("a worker loses power and comes back", func(t *testing.T) { f.powerCut(t, m, f.workers[0]) })
	t.Run("reset and join again", func(t *testing.T) { f.rejoin(t) })
	t.Run("another machine under the name of one that is gone", func(t *testing.T) { f.replace(t, m) })
}

// powerCut takes the power from a node and gives it back. Its pods run again, and
// are reached by all.
func (f *fleet) powerCut(t *testing.T, m *mesh, n *lab.Node) {
	before := m.container(t, n)
	lab.Must(t, n.Restart())
	f.awaitNodes(t, n)
	m.awaitAnew(t, n, before)
	m.check(t)
}

// rejoin resets a worker, which has nothing left then, and has it join again.
func (f *fleet) rejoin(t *testing.T) {
	n := f.lan.Node(t, "again") // without images: a purge takes those, too
	t.Cleanup(func() { checkLog(t, n) })
	before := n.State(t)
	for range 2 {
		n.Share(t)
		f.join(t, nil, []*lab.Node{n})
		f.awaitNodes(t, n)
		n.Boot(t, "reset", "--force", "--purge")
		after := slices.DeleteFunc(n.State(t), func(line string) bool { return strings.HasPrefix(line, leftover) })
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("the machine (-before +after):\n%s", diff)
		}
		f.forget(t, n)
	}
}

// replace has the machine of a worker vanish, and another one join by its name.
func (f *fleet) replace(t *testing.T, m *mesh) {
	old := f.workers[1]
	before := m.container(t, old)
	f.awaitNodes(t, old) // for as long as it is Ready its name is taken
	early := furnished(t, f.lan, "early")
	out, err := early.Try(t.Context(), append(f.cluster.JoinWorker(), "--node-name", old.Name)...)
	if err != nil || out.Code == 0 || !strings.Contains(out.Stderr, old.Name) || !strings.Contains(out.Stderr, "hint: ") {
		t.Errorf("joined under a name that is in use: %v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	lab.Must(t, old.Close())
	n := furnished(t, f.lan, old.Name)
	f.workers[1] = n
	f.forget(t, old)
	f.join(t, nil, []*lab.Node{n})
	f.awaitNodes(t, n)
	m.awaitReplaced(t, n, before) // its pods are still wanted there
	m.check(t)
}

// forget deletes the Node of a machine that is gone.
func (f *fleet) forget(t *testing.T, n *lab.Node) {
	t.Helper()
	lab.Until(t, patience, "delete Node "+n.Name, func(ctx context.Context) error { // which may be done although nobody said so
		err := f.client.CoreV1().Nodes().Delete(ctx, n.Name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
