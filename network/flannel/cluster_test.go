package flannel

import (
	"log/slog"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// poked reports whether a look was asked for, and forgets it.
func poked(n *Network) bool {
	select {
	case <-n.poke:
		return true
	default:
		return false
	}
}

func TestNodesThatChange(t *testing.T) {
	n := New(Options{})
	s := nodeStore{n}
	node := upstream()
	node.Annotations["example.org/large"] = "much"
	node.Status.NodeInfo.KubeletVersion = "v1.37.2"
	if err := s.Replace([]any{node}, ""); err != nil || !poked(n) {
		t.Errorf("nodes that were listed: %v", err)
	}
	kept := n.nodes["theirs"]
	if len(kept.Annotations) != 6 || kept.Status.NodeInfo.KubeletVersion != "" {
		t.Errorf("too much is kept: %+v", kept)
	}
	beat := node.DeepCopy()
	beat.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady}}
	if err := s.Update(beat); err != nil || poked(n) {
		t.Errorf("a node that is still there: %v", err)
	}
	moved := node.DeepCopy()
	moved.Annotations[annotationIP] = "10.0.0.9"
	if err := s.Update(moved); err != nil || !poked(n) {
		t.Errorf("a node that moved: %v", err)
	}
	if err := s.Delete(moved); err != nil || !poked(n) || len(n.nodes) != 0 {
		t.Errorf("a node that is gone: %v, %v", err, n.nodes)
	}
}

// What cannot be read changes nothing, and neither does a ConfigMap that is gone.
func TestConfThatChanges(t *testing.T) {
	n := New(Options{Log: slog.New(slog.DiscardHandler)})
	s := confStore{n}
	conf := func(text string) *v1.ConfigMap {
		return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ConfName}, Data: map[string]string{ConfKey: text}}
	}
	if err := s.Replace(nil, ""); err != nil || n.conf != nil || poked(n) {
		t.Errorf("without one: %+v, %v", n.conf, err)
	}
	if err := s.Add(conf(`{"Network": "10.244.0.0/16", "Backend": {"Type": "host-gw"}}`)); err != nil || n.conf == nil || n.conf.Backend != HostGW || !poked(n) {
		t.Fatalf("a new one: %+v, %v", n.conf, err)
	}
	for _, err := range []error{s.Update(conf(`{`)), s.Delete(conf(``)), s.Replace(nil, "")} {
		if err != nil || n.conf.Backend != HostGW || poked(n) {
			t.Errorf("%+v, %v", n.conf, err)
		}
	}
}
