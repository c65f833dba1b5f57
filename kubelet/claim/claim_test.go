package claim

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"boot.internal/kubelet/plugin"
)

func (n *node) prepared(t *testing.T, p *v1.Pod) {
	t.Helper()
	if err := n.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// given returns the CDI devices of a container.
func (n *node) given(t *testing.T, p *v1.Pod, container string) string {
	t.Helper()
	c := &cri.ContainerConfig{}
	if err := n.Equip(t.Context(), p, container, c); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range c.CDIDevices {
		all = append(all, d.Name)
	}
	return strings.Join(all, " ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// What is prepared once stays so, whoever starts again, until the pod is over.
func TestLife(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of first", gpu+"/b of second"), claimOf("two", []string{"p"}, gpu+"/c of only"))
	d, _ := n.start(t, gpu, "i")
	p := podOf("p", "one", "two")
	n.prepared(t, p)
	n.prepared(t, p)
	want(t, "driver was called to", d.called(), "prepare one two")
	devices := "gpu.example.com/dev=one-a gpu.example.com/dev=one-b gpu.example.com/dev=two-c"
	want(t, "main has", n.given(t, p, "main"), devices)
	want(t, "side has", n.given(t, p, "side"), "")
	p.Spec.Containers[1].Resources.Claims = []v1.ResourceClaim{{Name: "one", Request: "second"}}
	want(t, "side has", n.given(t, p, "side"), "gpu.example.com/dev=one-b")

	n.stop()
	n.boot(t)
	n.until(t, "the driver again", func() bool { _, err := n.drivers.get(gpu); return err == nil })
	want(t, "main has after a restart", n.given(t, p, "main"), devices)
	if err := n.Unprepare(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	if err := n.Unprepare(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	want(t, "driver was called to", d.called(), "unprepare one two")
	if n.Holds(p.UID) {
		t.Error("the pod holds something yet")
	}
	n.stop()
	n.boot(t)
	if n.Holds(p.UID) {
		t.Error("the pod holds something after a restart")
	}
}

// A claim that pods share is prepared with the first and taken back with the last.
func TestShared(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p", "q"}, gpu+"/a of r"))
	d, _ := n.start(t, gpu, "i")
	p, q := podOf("p", "one"), podOf("q", "one")
	n.prepared(t, p)
	n.prepared(t, q)
	want(t, "driver was called to", d.called(), "prepare one")
	if err := n.Unprepare(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	want(t, "driver was called to", d.called(), "")
	want(t, "main has", n.given(t, q, "main"), "gpu.example.com/dev=one-a")
	if err := n.Unprepare(t.Context(), q.UID); err != nil {
		t.Fatal(err)
	}
	want(t, "driver was called to", d.called(), "unprepare one")
}

// Each driver is called for its own part.
func TestTwoDrivers(t *testing.T) {
	const nic = "nic.example.com"
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r", nic+"/b of s"))
	first, _ := n.start(t, gpu, "i")
	second, _ := n.start(t, nic, "j", kubeletplugin.NodeV1(false))
	p := podOf("p", "one")
	second.fails(errBroken, nil)
	if err := n.Prepare(t.Context(), p); err == nil || !strings.Contains(err.Error(), "it is broken") {
		t.Errorf("the second failed: %v", err)
	}
	second.fails(nil, nil)
	n.prepared(t, p)
	want(t, "the first was called to", first.called(), "prepare one; prepare one")
	want(t, "the second was called to", second.called(), "prepare one; prepare one")
	want(t, "main has", n.given(t, p, "main"), "gpu.example.com/dev=one-a nic.example.com/dev=one-b")
	if got := n.inUse(); !cmp.Equal(got, map[string]int{"<any>": 1, gpu: 1, nic: 1}) {
		t.Errorf("in use: %v", got)
	}
	if err := n.Unprepare(t.Context(), p.UID); err != nil {
		t.Fatal(err)
	}
	want(t, "the second was called to", second.called(), "unprepare one")
}

// What is wrong is said as upstream says it, and nothing has to be taken back.
func TestRefused(t *testing.T) {
	unallocated := claimOf("new", []string{"p"})
	unallocated.Status.Allocation = nil
	owned := podOf("p")
	owned.Spec.ResourceClaims = []v1.PodResourceClaim{{Name: "c", ResourceClaimTemplateName: new("template")}}
	unmade := owned.DeepCopy()
	owned.Status.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: "c", ResourceClaimName: new("one")}}
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"), claimOf("other", []string{"q"}, gpu+"/b of r"), unallocated,
		claimOf("away", []string{"p"}, "away.example.com/a of r"))
	n.start(t, gpu, "i")
	for _, tt := range []struct {
		pod  *v1.Pod
		want string
	}{
		{podOf("p", "none"), `fetch ResourceClaim none: resourceclaims.resource.k8s.io "none" not found`},
		{podOf("p", "other"), "pod p (p) is not allowed to use ResourceClaim other (uid-other)"},
		{podOf("p", "new"), "ResourceClaim new: not allocated"},
		{podOf("p", "one", "away"), "DRA driver away.example.com is not registered"},
		{owned, "ResourceClaim ns/one was not created for Pod ns/p (Pod is not owner)"},
		{unmade, `pod "ns/p": ResourceClaim not created yet`},
	} {
		if err := n.Prepare(t.Context(), tt.pod); err == nil || err.Error() != "prepare dynamic resources: "+tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
		if n.Holds("p") {
			t.Errorf("something is to be taken back after: %s", tt.want)
		}
	}
}

// A claim that nobody needs is not missed.
func TestNotNeeded(t *testing.T) {
	n := newNode(t)
	p := podOf("p")
	p.Spec.ResourceClaims = []v1.PodResourceClaim{{Name: "c", ResourceClaimTemplateName: new("template")}}
	p.Status.ResourceClaimStatuses = []v1.PodResourceClaimStatus{{Name: "c"}}
	p.Spec.Containers[0].Resources.Claims = []v1.ResourceClaim{{Name: "c"}}
	n.prepared(t, p)
	want(t, "main has", n.given(t, p, "main"), "")
}

// What a driver fails to do is asked of it again.
func TestDriverFails(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p", "q"}, gpu+"/a of r"))
	d, _ := n.start(t, gpu, "i")
	p := podOf("p", "one")
	d.fails(nil, errBroken)
	if err := n.Prepare(t.Context(), p); err == nil || !strings.Contains(err.Error(), "NodePrepareResources failed for ResourceClaim one: ") {
		t.Errorf("%v", err)
	}
	d.fails(nil, nil)
	n.prepared(t, p)
	d.fails(nil, errBroken)
	if err := n.Unprepare(t.Context(), p.UID); err == nil || !strings.Contains(err.Error(), "NodeUnprepareResources failed for ResourceClaim one: ") {
		t.Errorf("%v", err)
	}
	if !n.Holds(p.UID) {
		t.Error("what was not taken back is forgotten")
	}
	if err := n.Prepare(t.Context(), podOf("q", "one")); err == nil || !strings.Contains(err.Error(), "ResourceClaim one is being unprepared") {
		t.Errorf("another pod gets what is being taken back: %v", err)
	}
	d.fails(nil, nil)
	if err := n.Unprepare(t.Context(), p.UID); err != nil {
		t.Error(err)
	}
	n.prepared(t, podOf("q", "one"))
}

// A new claim of the name of an old one waits until that is taken back, which does
// not need the API to know it.
func TestSameName(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"))
	d, _ := n.start(t, gpu, "i")
	n.prepared(t, podOf("p", "one"))
	again := claimOf("one", []string{"q"}, gpu+"/a of r")
	again.UID = "uid-again"
	if _, err := n.api.ResourceV1().ResourceClaims("ns").Update(t.Context(), again, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := n.Prepare(t.Context(), podOf("q", "one")); err == nil || !strings.Contains(err.Error(), "old ResourceClaim with same name one and different UID uid-one still exists") {
		t.Errorf("%v", err)
	}
	if err := n.Unprepare(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	n.prepared(t, podOf("q", "one"))
	want(t, "driver was called to", d.called(), "prepare one; unprepare one; prepare one")
}

// Pods that nobody knows any more lose what was prepared for them.
func TestKeep(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"), claimOf("two", []string{"q"}, gpu+"/b of r"))
	d, _ := n.start(t, gpu, "i")
	n.prepared(t, podOf("p", "one"))
	n.prepared(t, podOf("q", "two"))
	if gone := n.others(map[types.UID]bool{"p": true, "q": true}); len(gone) > 0 {
		t.Errorf("gone are %v", gone)
	}
	n.Keep(map[types.UID]bool{"q": true})
	expect(t, d.undone, "something taken back")
	want(t, "driver was called to", d.called(), "prepare one; prepare two; unprepare one")
	if !n.Holds("q") {
		t.Error("it was taken from the wrong pod")
	}
}

// Of a pod that is gone a driver that was away takes its devices back as soon as it
// comes.
func TestDriverComesBack(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"))
	_, stop := n.start(t, gpu, "i")
	n.prepared(t, podOf("p", "one"))
	n.stop()
	stop()
	n.boot(t)
	n.Abandon(t.Context(), "p")
	if !n.Holds("p") {
		t.Error("it was taken back by nobody")
	}
	d, _ := n.start(t, gpu, "j")
	expect(t, d.undone, "something taken back")
	want(t, "driver was called to", d.called(), "unprepare one")
}

// While it is not known what is prepared nothing is. Removing the file mends that.
func TestDamagedFile(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"))
	n.stop()
	path := n.dir + "/dra_manager_state"
	if err := os.WriteFile(path, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.boot(t)
	n.start(t, gpu, "i")
	if err := n.Prepare(t.Context(), podOf("p", "one")); err == nil || !strings.Contains(err.Error(), "drain the node and remove the file") {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	n.prepared(t, podOf("p", "one"))
}

func TestValidate(t *testing.T) {
	n := newNode(t)
	for _, tt := range []struct {
		versions []string
		want     string
	}{
		{[]string{"v1.DRAPlugin"}, ""},
		{[]string{"v2.DRAPlugin", "v1beta1.DRAPlugin"}, ""},
		{[]string{"v1alpha3.Node"}, `none of services supported by the plugin (["v1alpha3.Node"]) are supported by the kubelet (["v1.DRAPlugin" "v1beta1.DRAPlugin"])`},
		{nil, "empty list of supported gRPC services (aka supported versions)"},
	} {
		err := n.Validate(t.Context(), plugin.Plugin{Type: plugin.DRA, Name: gpu, Endpoint: "/s", Versions: tt.versions})
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasSuffix(err.Error(), "DRA driver plugin gpu.example.com at endpoint /s: "+tt.want)) {
			t.Errorf("%v: %v", tt.versions, err)
		}
	}
}

// The claim that a scheduler makes for extended resources gives its devices to those
// containers that ask for them.
func TestExtended(t *testing.T) {
	c := claimOf("made", []string{"p"}, gpu+"/a of container-0-request-0", gpu+"/b of container-1-request-0")
	n := newNode(t, c)
	n.start(t, gpu, "i")
	p := podOf("p")
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].Resources.Requests = v1.ResourceList{"example.com/gpu": quantity("1"), v1.ResourceCPU: quantity("1")}
	}
	p.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{ResourceClaimName: "made", RequestMappings: []v1.ContainerExtendedResourceRequest{
		{ContainerName: "main", ResourceName: "example.com/gpu", RequestName: "container-0-request-0"},
		{ContainerName: "side", ResourceName: "example.com/gpu", RequestName: "container-1-request-0"},
		{ContainerName: "side", ResourceName: "example.com/nic", RequestName: "container-0-request-0"}, // which it does not ask for
	}}
	n.prepared(t, p)
	want(t, "main has", n.given(t, p, "main"), "gpu.example.com/dev=made-a")
	want(t, "side has", n.given(t, p, "side"), "gpu.example.com/dev=made-b")
}

func TestIsExtended(t *testing.T) {
	for name, want := range map[string]bool{
		"example.com/gpu": true, "deviceclass.resource.kubernetes.io/gpu": true,
		"cpu": false, "kubernetes.io/batch": false, "x.kubernetes.io/y": false,
	} {
		if got := isExtended(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Agents are told of all that was prepared of a claim that a container uses.
func TestTell(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r", gpu+"/b of s"))
	n.start(t, gpu, "i")
	p := podOf("p", "one")
	if got := n.Tell(p, &p.Spec.Containers[0]); got != nil {
		t.Errorf("before it is prepared: %v", got)
	}
	n.prepared(t, p)
	got := n.Tell(p, &p.Spec.Containers[0])
	if len(got) != 1 || got[0].ClaimName != "one" || got[0].ClaimNamespace != "ns" || len(got[0].ClaimResources) != 2 {
		t.Fatalf("%v", got)
	}
	if r := got[0].ClaimResources[1]; r.DriverName != gpu || r.PoolName != "pool" || r.DeviceName != "b" || len(r.CdiDevices) != 1 || r.CdiDevices[0].Name != "gpu.example.com/dev=one-b" {
		t.Errorf("%v", r)
	}
	if got := n.Tell(p, &p.Spec.Containers[1]); got != nil {
		t.Errorf("of a container without claims: %v", got)
	}
}
