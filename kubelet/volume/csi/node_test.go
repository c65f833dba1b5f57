package csi

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"

	"boot.internal/kubelet/plugin"
)

func (w *world) csiNode() *storagev1.CSINode {
	w.Helper()
	n, err := w.api.StorageV1().CSINodes().Get(w.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) apiNode() *v1.Node {
	w.Helper()
	n, err := w.api.CoreV1().Nodes().Get(w.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	return n
}

func TestAnnounce(t *testing.T) {
	w := newWorld(t)
	if err := w.announce(t.Context(), "other", &csi.NodeGetInfoResponse{NodeId: "id-2"}); err != nil {
		t.Fatal(err)
	}
	want := []storagev1.CSINodeDriver{
		{Name: driverName, NodeID: "id-1", TopologyKeys: []string{"example.com/zone"}, Allocatable: &storagev1.VolumeNodeResources{Count: new(int32(5))}},
		{Name: "other", NodeID: "id-2"},
	}
	if diff := cmp.Diff(want, w.csiNode().Spec.Drivers); diff != "" {
		t.Error(diff)
	}
	owner := w.csiNode().OwnerReferences[0]
	if owner.UID != "node-uid" || owner.Kind != "Node" || owner.Name != "n1" {
		t.Errorf("owner %v", owner)
	}
	if got := w.apiNode().Annotations[nodeIDs]; got != `{"csi.example.com":"id-1","other":"id-2"}` {
		t.Errorf("annotation %s", got)
	}
	if got := w.apiNode().Labels["example.com/zone"]; got != "a" {
		t.Errorf("label %q", got)
	}
	// What is said already is not written again.
	w.api.ClearActions()
	if err := w.Register(t.Context(), w.plugin()); err != nil {
		t.Fatal(err)
	}
	for _, a := range w.api.Actions() {
		if a.GetVerb() != "get" {
			t.Errorf("%s %s", a.GetVerb(), a.GetResource().Resource)
		}
	}
	w.Deregister(t.Context(), w.plugin())
	w.Deregister(t.Context(), plugin.Plugin{Name: "other"})
	if drivers := w.csiNode().Spec.Drivers; len(drivers) != 0 {
		t.Errorf("drivers %v", drivers)
	}
	if got, ok := w.apiNode().Annotations[nodeIDs]; ok {
		t.Errorf("annotation %s", got)
	}
}

func TestTopologyCollides(t *testing.T) {
	w := newWorld(t)
	info := &csi.NodeGetInfoResponse{NodeId: "x", AccessibleTopology: &csi.Topology{Segments: map[string]string{"example.com/zone": "b"}}}
	err := w.announce(t.Context(), "other", info)
	if err == nil || !strings.Contains(err.Error(), "detected topology value collision") {
		t.Errorf("error %v", err)
	}
}

// The CSINode of a node that was deleted is made anew.
func TestCSINodeOfThePast(t *testing.T) {
	w := newWorld(t)
	n := w.csiNode()
	n.OwnerReferences[0].UID = "old"
	if _, err := w.api.StorageV1().CSINodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Init(t.Context())
	if got := w.csiNode(); got.OwnerReferences[0].UID != "node-uid" || len(got.Spec.Drivers) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestValidate(t *testing.T) {
	w := newWorld(t)
	elsewhere := w.plugin()
	elsewhere.Endpoint = "/elsewhere"
	newer := elsewhere
	newer.Versions = []string{"1.3.0"}
	for name, tc := range map[string]struct {
		plugin plugin.Plugin
		want   string
	}{
		"no versions":        {plugin.Plugin{Name: "x"}, "empty list of supported versions"},
		"of the future":      {plugin.Plugin{Name: "x", Versions: []string{"2.0.0"}}, "are supported"},
		"there is one":       {elsewhere, "already registered with a higher supported version"},
		"the same once more": {w.plugin(), ""},
		"a newer one":        {newer, ""},
	} {
		err := w.Validate(t.Context(), tc.plugin)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestTokensAndRepublish(t *testing.T) {
	w := newWorld(t, newDriver(func(s *storagev1.CSIDriverSpec) {
		s.TokenRequests = []storagev1.TokenRequest{{Audience: "vault", ExpirationSeconds: new(int64(600))}}
		s.RequiresRepublish = new(true)
	}))
	tokens := 0
	w.api.PrependReactor("create", "serviceaccounts", func(a k8stesting.Action) (bool, runtime.Object, error) {
		req := a.(k8stesting.CreateAction).GetObject().(*authenticationv1.TokenRequest)
		if req.Spec.BoundObjectRef.UID != "a" || req.Spec.Audiences[0] != "vault" || *req.Spec.ExpirationSeconds != 600 {
			t.Errorf("asked for %v", req.Spec)
		}
		tokens++
		req.Status.Token = "secret"
		return true, req, nil
	})
	r := Request{Pod: newPod("a"), PV: newPV("v1")}
	w.mustPublish(r)
	var got map[string]authenticationv1.TokenRequestStatus
	if err := json.Unmarshal([]byte(w.driver.publish.VolumeContext[tokensKey]), &got); err != nil || got["vault"].Token != "secret" {
		t.Errorf("the driver was told %v, %v", got, err)
	}
	if err := w.Republish(t.Context(), r); err != nil || tokens != 2 {
		t.Errorf("%d tokens, %v", tokens, err)
	}
	w.mustUnpublish("a")
	w.driver.take()
	if err := w.Republish(t.Context(), r); err != nil {
		t.Error(err)
	}
	w.wantCalls() // it is gone
}

func TestExpand(t *testing.T) {
	pvc := &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"},
		Status: v1.PersistentVolumeClaimStatus{
			Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")},
			AllocatedResourceStatuses: map[v1.ResourceName]v1.ClaimResourceStatus{
				v1.ResourceStorage: v1.PersistentVolumeClaimNodeResizePending,
			},
			Conditions: []v1.PersistentVolumeClaimCondition{
				{Type: v1.PersistentVolumeClaimFileSystemResizePending, Status: v1.ConditionTrue}, {Type: "Other", Status: v1.ConditionTrue},
			},
		},
	}
	w := newWorld(t, newDriver(), pvc)
	w.driver.can = append(w.driver.can, csi.NodeServiceCapability_RPC_EXPAND_VOLUME, csi.NodeServiceCapability_RPC_GET_VOLUME_STATS)
	r := Request{Pod: newPod("a"), PV: newPV("v1")}
	vol := w.mustPublish(r)
	if s, err := w.Stats(t.Context(), vol); err != nil || *s.UsedBytes != 30 || *s.CapacityBytes != 100 || s.Inodes != nil {
		t.Errorf("stats %v, %v", s, err)
	}
	w.driver.take()
	if err := w.Expand(t.Context(), r, pvc, vol); err != nil {
		t.Fatal(err)
	}
	w.wantCalls("expand v1")
	if e := w.driver.expand; e.CapacityRange.RequiredBytes != 2<<30 || e.VolumePath != vol.Path || e.StagingTargetPath == "" {
		t.Errorf("expanded %v", e)
	}
	got, err := w.api.CoreV1().PersistentVolumeClaims("ns").Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Status; s.Capacity.Storage().String() != "2Gi" || len(s.Conditions) != 1 || s.Conditions[0].Type != "Other" || len(s.AllocatedResourceStatuses) != 0 {
		t.Errorf("status %v", s)
	}
	if len(w.events) != 1 || !strings.HasPrefix(w.events[0], "FileSystemResizeSuccessful: ") {
		t.Errorf("events %v", w.events)
	}
	if err := w.Expand(t.Context(), r, got, vol); err != nil {
		t.Error(err)
	}
	w.wantCalls() // it is large enough
}
