package csi

import (
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// resizing returns a claim of 1Gi that is being given what its owner asks for,
// and how far that has come.
func resizing(asked string, stage v1.ClaimResourceStatus) *v1.PersistentVolumeClaim {
	size := func(text string) v1.ResourceList {
		return v1.ResourceList{v1.ResourceStorage: resource.MustParse(text)}
	}
	return &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"},
		Spec:       v1.PersistentVolumeClaimSpec{Resources: v1.VolumeResourceRequirements{Requests: size(asked)}},
		Status: v1.PersistentVolumeClaimStatus{
			Capacity: size("1Gi"), AllocatedResources: size(asked),
			AllocatedResourceStatuses: map[v1.ResourceName]v1.ClaimResourceStatus{v1.ResourceStorage: stage},
		},
	}
}

// An expander is a world with a volume that is published, of a claim.
type expander struct {
	*world
	expand func(*v1.PersistentVolumeClaim) error
}

func newExpander(t *testing.T, pvc *v1.PersistentVolumeClaim) expander {
	t.Helper()
	w := newWorld(t, newDriver(), pvc)
	w.driver.can = append(w.driver.can, csi.NodeServiceCapability_RPC_EXPAND_VOLUME)
	r := Request{Pod: newPod("a"), PV: newPV("v1")}
	vol := w.mustPublish(r)
	w.driver.take()
	return expander{w, func(pvc *v1.PersistentVolumeClaim) error { return w.Expand(t.Context(), r, pvc, vol) }}
}

// claim returns the claim as the API has it.
func (e expander) claim() *v1.PersistentVolumeClaim {
	e.Helper()
	pvc, err := e.api.CoreV1().PersistentVolumeClaims("ns").Get(e.Context(), "c", metav1.GetOptions{})
	if err != nil {
		e.Fatal(err)
	}
	return pvc
}

// What the driver says to its being asked to expand a volume is in the claim
// afterwards. Upstream's "Expansion with recovery" counts on it.
func TestExpandSays(t *testing.T) {
	for name, tc := range map[string]struct {
		stage     v1.ClaimResourceStatus // before
		fail      error
		asked     bool // the driver
		after     v1.ClaimResourceStatus
		condition bool // that it failed
		blocks    bool // the start of the pod
		capacity  string
	}{
		"the controller is at it":           {stage: v1.PersistentVolumeClaimControllerResizeInProgress, after: v1.PersistentVolumeClaimControllerResizeInProgress, capacity: "1Gi"},
		"the node has failed":               {stage: v1.PersistentVolumeClaimNodeResizeInfeasible, after: v1.PersistentVolumeClaimNodeResizeInfeasible, capacity: "1Gi"},
		"it works":                          {stage: v1.PersistentVolumeClaimNodeResizePending, asked: true, capacity: "1536Mi"},
		"it works the second time":          {stage: v1.PersistentVolumeClaimNodeResizeInProgress, asked: true, capacity: "1536Mi"},
		"it can never work":                 {stage: v1.PersistentVolumeClaimNodeResizePending, fail: status.Error(codes.OutOfRange, "no"), asked: true, after: v1.PersistentVolumeClaimNodeResizeInfeasible, condition: true, blocks: true, capacity: "1Gi"},
		"it does not work":                  {stage: v1.PersistentVolumeClaimNodeResizePending, fail: status.Error(codes.PermissionDenied, "no"), asked: true, after: v1.PersistentVolumeClaimNodeResizeInProgress, condition: true, blocks: true, capacity: "1Gi"},
		"it does not work while it is used": {stage: v1.PersistentVolumeClaimNodeResizePending, fail: status.Error(codes.FailedPrecondition, "no"), asked: true, after: v1.PersistentVolumeClaimNodeResizeInProgress, condition: true, capacity: "1Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExpander(t, resizing("1536Mi", tc.stage))
			e.driver.failing("expand", tc.fail)
			if err := e.expand(e.claim()); (err != nil) != tc.blocks {
				t.Errorf("error %v", err)
			}
			if tc.asked {
				e.wantCalls("expand v1")
			} else {
				e.wantCalls()
			}
			got := e.claim()
			if s := got.Status; s.AllocatedResourceStatuses[v1.ResourceStorage] != tc.after || s.Capacity.Storage().String() != tc.capacity {
				t.Errorf("status %v", s)
			}
			if got := hasCondition(got, v1.PersistentVolumeClaimNodeResizeError); got != tc.condition {
				t.Errorf("condition that it failed: %t", got)
			}
		})
	}
}

// Once it has failed, the owner may ask for less: if that comes when the driver
// is being asked for more, the node gives that up.
func TestExpandGivesUp(t *testing.T) {
	e := newExpander(t, resizing("2Gi", v1.PersistentVolumeClaimNodeResizePending))
	e.driver.failing("expand", status.Error(codes.PermissionDenied, "no"))
	if err := e.expand(e.claim()); err == nil {
		t.Error("no error")
	}
	less := e.claim()
	less.Spec.Resources.Requests[v1.ResourceStorage] = resource.MustParse("1536Mi")
	if err := e.expand(less); err == nil {
		t.Error("no error")
	}
	e.wantCalls("expand v1", "expand v1")
	got := e.claim().Status
	if got.AllocatedResourceStatuses[v1.ResourceStorage] != v1.PersistentVolumeClaimNodeResizeInfeasible || len(got.Conditions) != 1 {
		t.Errorf("status %v", got)
	}
}

// A driver that has nothing to do on the node leaves the claim to the
// controller's side.
func TestExpandNothingToDo(t *testing.T) {
	e := newExpander(t, resizing("2Gi", v1.PersistentVolumeClaimNodeResizePending))
	e.driver.can = e.driver.can[:1]
	if err := e.expand(e.claim()); err != nil {
		t.Error(err)
	}
	e.wantCalls()
	if got := e.claim().Status.Capacity.Storage().String(); got != "1Gi" {
		t.Errorf("capacity %s", got)
	}
}
