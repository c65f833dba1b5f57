package csi

import (
	"errors"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// A volume that only one pod may have is refused to a second, until the first has
// it no longer, also if an earlier process gave it to the first. Upstream's
// "read-write-once-pod" counts on it.
func TestOnePodOnly(t *testing.T) {
	for name, block := range map[string]bool{"file system": false, "block device": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, newDriver())
			first, second := newPV("v1"), newPV("v1")
			first.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod}
			second.Spec.AccessModes, second.Name = first.Spec.AccessModes, "pv-other" // it is the same volume
			w.mustPublish(Request{Pod: newPod("a"), PV: first, Block: block})
			w.mustPublish(Request{Pod: newPod("a"), PV: first, Block: block})
			w.driver.take()
			for _, d := range []*Drivers{w.Drivers, w.start(w.o.RootDir)} {
				if _, err := d.Publish(t.Context(), Request{Pod: newPod("b"), PV: second, Block: block}); !errors.Is(err, ErrTaken) {
					t.Errorf("error %v", err)
				}
			}
			w.wantCalls()
			w.mustUnpublish("a")
			w.driver.take()
			w.mustPublish(Request{Pod: newPod("b"), PV: second, Block: block})
			w.wantCalls("stage v1", "publish v1")
		})
	}
}

// Pods that may use a volume in another way as well share it.
func TestOnePodAmongOthers(t *testing.T) {
	w := newWorld(t, newDriver())
	pv := newPV("v1")
	pv.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod, v1.ReadWriteOnce}
	w.mustPublish(Request{Pod: newPod("a"), PV: pv})
	w.mustPublish(Request{Pod: newPod("b"), PV: pv})
}
