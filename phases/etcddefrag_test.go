package phases

import (
	"testing"

	"boot.internal/etcd"
)

// A member that has just been defragmented may be slow to say how it is, or not
// answer at all: with nothing left to do that is no failure.
func TestDefragmentedMembersAreNotAskedAgain(t *testing.T) {
	w := running(t, "")
	tree := w.tree()
	nobody, err := etcd.New(etcd.Options{
		Endpoints: []string{"https://127.0.0.1:1"}, CA: tree.EtcdCA.Cert, Cert: tree.EtcdHealthcheckClient.Cert, Key: tree.EtcdHealthcheckClient.Key,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nobody.Close() })
	d := NewEtcdDefrag(nobody)
	if _, err := d.Plan(t.Context()); err == nil {
		t.Error("nobody was asked before anything was done")
	}
	d.done[7], d.left = true, 0
	if changes, err := d.Plan(t.Context()); err != nil || len(changes) > 0 {
		t.Errorf("would %v, %v", changes, err)
	}
	d.left = 1
	if _, err := d.Plan(t.Context()); err == nil {
		t.Error("nobody was asked with one left")
	}
}
