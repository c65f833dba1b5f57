package kubelet

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"boot.internal/kubelet/claim"
	"boot.internal/kubelet/claim/checkpoint"
	"boot.internal/kubelet/device"
	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/local"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/podsapi"
	"boot.internal/kubelet/status"
)

// withClaims returns a kubelet that finds something prepared for a pod, by no driver
// or by one that is away.
func withClaims(t *testing.T, uid types.UID, drivers ...string) *kubelet {
	t.Helper()
	log, dir := slog.New(slog.DiscardHandler), t.TempDir()
	c := checkpoint.Claim{ClaimUID: "1", ClaimName: "c", Namespace: "ns", PodUIDs: sets.New(string(uid)), DriverState: map[string]checkpoint.Driver{}}
	for _, d := range drivers {
		c.DriverState[d] = checkpoint.Driver{}
	}
	if err := checkpoint.Store(filepath.Join(dir, "dra_manager_state"), []checkpoint.Claim{c}); err != nil {
		t.Fatal(err)
	}
	desk := newDesk(&Options{Logger: log})
	desk.server = local.NewServer(func() local.State { return local.State{} }, log)
	return &kubelet{
		o: Options{Logger: log}, desk: desk, over: map[types.UID]bool{}, withheld: map[types.UID]v1.PodStatus{},
		dispatch: newDispatcher(log), pressure: evict.New(evict.Options{}), podsAPI: podsapi.New(nil),
		claims:  claim.New(t.Context(), claim.Options{Dir: dir, Node: "n", Log: log}),
		devices: device.New(device.Options{Dir: dir, Changed: func() {}, Log: log}),
		writer:  status.NewWriter(status.WriterOptions{Logger: log}),
	}
}

func claimer(uid types.UID) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: uid},
		Spec:       v1.PodSpec{ResourceClaims: []v1.PodResourceClaim{{Name: "c", ResourceClaimName: new("c")}}},
	}
}

// That a pod has ended is said once its devices were taken back, and not before.
func TestEndIsWithheld(t *testing.T) {
	k, p := withClaims(t, "1"), claimer("1")
	running, ended := v1.PodStatus{Phase: v1.PodRunning}, v1.PodStatus{Phase: v1.PodFailed, Reason: "Evicted"}
	if got := k.withhold(p, running, ended); got.Phase != v1.PodRunning || got.Reason != "" {
		t.Errorf("said is %s, %s", got.Phase, got.Reason)
	}
	if got := k.withhold(p, v1.PodStatus{}, ended); got.Phase != v1.PodPending {
		t.Errorf("said of one that never ran is %s", got.Phase)
	}
	if got := k.withhold(p, ended, ended); got.Phase != v1.PodFailed {
		t.Errorf("what was said is taken back: %s", got.Phase)
	}
	if got := k.withhold(claimer("2"), running, ended); got.Phase != v1.PodFailed {
		t.Errorf("of a pod for which nothing is prepared %s is said", got.Phase)
	}
	if err := k.giveBackClaims(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if s, _ := k.writer.Get("1"); s.Phase != v1.PodFailed || s.Reason != "Evicted" {
		t.Errorf("said afterwards is %s, %s", s.Phase, s.Reason)
	}
	if !k.isOver("1") || len(k.withheld) > 0 {
		t.Error("the pod is not over")
	}
}

// A driver that is away holds the end of a pod up, until the pod is gone.
func TestDriverAway(t *testing.T) {
	k, p := withClaims(t, "1", "gpu.example.com"), claimer("1")
	k.withhold(p, v1.PodStatus{}, v1.PodStatus{Phase: v1.PodFailed})
	if err := k.giveBackClaims(t.Context(), p); err == nil || !strings.Contains(err.Error(), "DRA driver gpu.example.com is not registered") {
		t.Errorf("%v", err)
	}
	if _, said := k.writer.Get("1"); said {
		t.Error("the end was said")
	}
	k.forgetClaims(t.Context(), "1")
	if len(k.withheld) > 0 || !k.claims.Holds("1") {
		t.Error("what is left to be taken back is forgotten, or what was to be said is not")
	}
}

// A pod whose devices cannot be prepared says why.
func TestPrepareFails(t *testing.T) {
	k := withClaims(t, "1")
	k.events = newEvents("n", k.o.Logger)
	p := claimer("1")
	p.Spec.ResourceClaims[0] = v1.PodResourceClaim{Name: "c", ResourceClaimTemplateName: new("t")}
	err := k.prepareClaims(t.Context(), p)
	if reasonOf(err) != "FailedPrepareDynamicResources" || !strings.Contains(err.Error(), "ResourceClaim not created yet") {
		t.Errorf("%v", err)
	}
	if err := k.prepareClaims(t.Context(), &v1.Pod{}); err != nil {
		t.Errorf("without claims: %v", err)
	}
}

// The devices of a plugin and those of a claim are told of together.
func TestHealthOfBoth(t *testing.T) {
	dir := t.TempDir()
	c := checkpoint.Claim{ClaimName: "c", Namespace: "ns", PodUIDs: sets.New("1"), DriverState: map[string]checkpoint.Driver{
		"gpu.example.com": {Devices: []checkpoint.Device{{PoolName: "pool", DeviceName: "a"}}},
	}}
	if err := checkpoint.Store(filepath.Join(dir, "dra_manager_state"), []checkpoint.Claim{c}); err != nil {
		t.Fatal(err)
	}
	k := &kubelet{claims: claim.New(t.Context(), claim.Options{Dir: dir, Node: "n", Log: slog.New(slog.DiscardHandler)})}
	p := claimer("1")
	p.Spec.Containers = []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Claims: []v1.ResourceClaim{{Name: "c"}}}}}
	of := map[string][]v1.ResourceStatus{"main": {{Name: "example.com/nic"}}}
	in := status.Input{Pod: p, Have: pod.Observed{Devices: of}}
	k.addHealth(&in)
	if got := in.Have.Devices["main"]; len(got) != 2 || got[0].Name != "example.com/nic" || got[1].Name != "claim:c" {
		t.Errorf("%v", got)
	}
	if len(of["main"]) != 1 {
		t.Error("what was looked at is changed")
	}
	if _, err := os.Stat(filepath.Join(dir, "dra_health_state")); err == nil {
		t.Error("nothing was told, and it is remembered")
	}
}

// noClaims returns a Keeper that knows of nothing.
func noClaims(t *testing.T) *claim.Keeper {
	t.Helper()
	return claim.New(t.Context(), claim.Options{Dir: t.TempDir(), Node: "n", Log: slog.New(slog.DiscardHandler)})
}

// A pod whose claim is made after it was sent here is told so to its worker.
func TestClaimIsNews(t *testing.T) {
	before := claimer("1")
	after := before.DeepCopy()
	if !same(before, after) {
		t.Error("nothing is news")
	}
	after.Status.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: "c", ResourceClaimName: new("made")}}
	if same(before, after) {
		t.Error("that a claim was made is no news")
	}
	after = before.DeepCopy()
	after.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{ResourceClaimName: "made"}
	if same(before, after) {
		t.Error("that a claim was made for extended resources is no news")
	}
}
