package node

import (
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestVolumesInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.run()
		synctest.Wait()
		w.k.SetRuntime(Runtime{Version: "x"})
		for _, want := range [][]v1.UniqueVolumeName{{"kubernetes.io/csi/d^a", "kubernetes.io/csi/d^b"}, {"kubernetes.io/csi/d^b"}} {
			w.k.SetVolumesInUse(want)
			synctest.Wait()
			if got := w.node().Status.VolumesInUse; !slices.Equal(got, want) {
				t.Errorf("the node says %v, want %v", got, want)
			}
		}
	})
}

// The fake of the API server cannot empty a list.
func TestNoVolumesInUse(t *testing.T) {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Labels: machineLabels()}, Status: v1.NodeStatus{VolumesInUse: []v1.UniqueVolumeName{"v"}}}
	patch, err := reportPatch(n, v1.NodeStatus{}, false)
	if err != nil || string(patch) != `{"status":{"volumesInUse":[]}}` {
		t.Errorf("patch %s, %v", patch, err)
	}
}
