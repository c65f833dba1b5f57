package csi

import (
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
)

// attaching sets whether the volumes of the driver are to be attached.
func attaching(t *testing.T, api *fake.Clientset, yes bool) {
	t.Helper()
	driver := newDriver(func(s *storagev1.CSIDriverSpec) { s.AttachRequired = &yes })
	if _, err := api.StorageV1().CSIDrivers().Update(t.Context(), driver, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A pod does not wait for a volume to be attached once its driver attaches none, and
// does not keep it from being detached. Upstream's "CSI Mock volume attach" counts
// on it.
func TestAttachIsNotNeededAnyMore(t *testing.T) {
	unique := v1.UniqueVolumeName("kubernetes.io/csi/" + driverName + "^v1")
	for name, attached := range map[string]bool{"it is never attached": false, "it is attached meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				api, node := fake.NewClientset(newDriver()), atomic.Pointer[v1.Node]{}
				attaching(t, api, true)
				d := New(Options{
					RootDir: dir, Node: "n1", Client: func() kubernetes.Interface { return api }, NodeObject: node.Load,
					InUse: func([]v1.UniqueVolumeName) {}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
				})
				done := make(chan error, 1)
				go func() {
					_, err := d.Publish(t.Context(), Request{Pod: newPod("a"), PV: newPV("v1")})
					done <- err
				}()
				synctest.Wait()
				if !slices.Equal(d.InUse(), []v1.UniqueVolumeName{unique}) {
					t.Errorf("in use %v", d.InUse())
				}
				attaching(t, api, false)
				if attached {
					node.Store(&v1.Node{Status: v1.NodeStatus{VolumesInUse: d.InUse(), VolumesAttached: []v1.AttachedVolume{{Name: unique}}}})
					d.NodeChanged()
				}
				if err := <-done; err == nil || !strings.Contains(err.Error(), "registered CSI drivers") {
					t.Errorf("error %v", err)
				}
				if len(d.InUse()) > 0 {
					t.Errorf("in use %v", d.InUse())
				}
			})
		})
	}
}

// What a pod has stays attached until the pod ends.
func TestAttachedStays(t *testing.T) {
	w := newWorld(t, newDriver())
	attaching(t, w.api, true)
	unique := v1.UniqueVolumeName("kubernetes.io/csi/" + driverName + "^v1")
	if _, err := w.api.StorageV1().VolumeAttachments().Create(t.Context(), &storagev1.VolumeAttachment{
		ObjectMeta: metav1.ObjectMeta{Name: attachmentName("v1", driverName, "n1")},
		Status:     storagev1.VolumeAttachmentStatus{Attached: true},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.setNode(func(n *v1.Node) {
		n.Status.VolumesInUse, n.Status.VolumesAttached = []v1.UniqueVolumeName{unique}, []v1.AttachedVolume{{Name: unique}}
	})
	r := Request{Pod: newPod("a"), PV: newPV("v1")}
	w.driver.can = nil // it stages nothing, so that the pod alone uses the volume
	w.mustPublish(r)
	attaching(t, w.api, false)
	w.mustPublish(r)
	if len(w.using()) != 1 {
		t.Errorf("in use %v", w.using())
	}
	w.mustUnpublish("a")
	if len(w.using()) > 0 {
		t.Errorf("in use %v", w.using())
	}
}
