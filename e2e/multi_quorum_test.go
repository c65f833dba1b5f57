package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"boot.internal/e2e/internal/lab"
)

// soon is how quickly a cluster is to answer again that has lost a control plane.
// It takes some two seconds; the machine may be busy.
const soon = 30 * time.Second

// TestLosingAControlPlane has three control planes, of which one at a time may fail.
func TestLosingAControlPlane(t *testing.T) {
	f := newFleet(t, 3, 2)
	f.reach(t, f.workers[0])
	f.awaitMembers(t, f.heads...)
	m := newMesh(t, f, f.heads[1], f.nodes()...)
	t.Run("pods, Services and names across nodes", m.check)
	if t.Failed() {
		return
	}
	t.Run("one is killed while writes go on", func(t *testing.T) { f.killHead(t, m, f.heads[0]) })
	t.Run("the network is split", func(t *testing.T) { f.split(t, m) })
	t.Run("one goes back to a snapshot without the others", func(t *testing.T) { f.goBack(t, m) })
	t.Run("a join killed at every change", func(t *testing.T) {
		n := furnished(t, f.lan, "cp4")
		killEverywhere(t, n, f.cluster.JoinControlPlane()[1:]...)
		f.heads = append(f.heads, n)
		f.awaitNodes(t, n)
		f.awaitMembers(t, f.heads...)
		waitReady(t, n)
	})
}

// killHead takes the power from a control plane, and gives it back.
func (f *fleet) killHead(t *testing.T, m *mesh, head *lab.Node) {
	before := m.container(t, head)
	w := write(t, f.hasty, m.Namespace)
	calm := w.awaitMore(t, 20)
	lab.Must(t, head.PowerOff())
	w.awaitAgain(t, calm, "without "+head.Name)
	lab.Must(t, head.PowerOn())
	f.awaitMembers(t, f.heads...)
	w.end()
	for _, h := range f.heads {
		w.check(t, f.own(t, h, calmTimeout))
	}
	f.awaitNodes(t, f.nodes()...)
	m.awaitAnew(t, head, before) // what was said of it before the power went is none of its address now
	m.check(t)
}

// split parts a control plane and a worker from the rest, and brings them back.
func (f *fleet) split(t *testing.T, m *mesh) {
	head, worker := f.heads[2], f.workers[1]
	before := m.container(t, worker)
	w := write(t, f.hasty, m.Namespace)
	calm := w.awaitMore(t, 20)
	lab.Must(t, f.lan.Split(head, worker))
	refuses(t, f.own(t, head, writeTimeout), m.Namespace)
	w.awaitAgain(t, calm, "on the larger side")
	lab.Must(t, f.lan.Heal(head, worker))
	f.awaitMembers(t, f.heads...)
	w.end()
	w.check(t, f.own(t, head, calmTimeout))
	f.awaitNodes(t, f.nodes()...)
	if after := m.container(t, worker); after != before {
		t.Errorf("the pod of the smaller side was started anew")
	}
	m.check(t)
}

// awaitMembers waits until these nodes, and no others, are voting members of
// etcd and well.
func (f *fleet) awaitMembers(t *testing.T, heads ...*lab.Node) {
	t.Helper()
	var want []string
	for _, n := range heads {
		want = append(want, n.Name)
	}
	slices.Sort(want)
	lab.Until(t, 2*patience, "see that etcd is well", func(ctx context.Context) error {
		out, err := heads[0].Try(ctx, lab.BootBinary(t), "etcd", "members", "-o", "json")
		if err != nil || out.Code != 0 {
			return fmt.Errorf("%w, exit code %d: %s", err, out.Code, out.Stderr)
		}
		var members []struct {
			Name, Role string
			Healthy    bool
		}
		if err := json.Unmarshal([]byte(out.Stdout), &members); err != nil {
			return err
		}
		var got []string
		for _, m := range members {
			if m.Healthy && m.Role != "learner" {
				got = append(got, m.Name)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || len(members) != len(want) {
			return fmt.Errorf("it has %+v", members)
		}
		return nil
	})
}
