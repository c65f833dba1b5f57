package claim

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	k8stesting "k8s.io/client-go/testing"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	dra "k8s.io/kubelet/pkg/apis/dra-health/v1"

	"boot.internal/kubelet/claim/checkpoint"
)

func quantity(s string) resource.Quantity { return resource.MustParse(s) }

// wiped returns a channel that tells by which selector slices are removed.
func (n *node) wiped() <-chan string {
	wiped := make(chan string, 10)
	n.api.PrependReactor("delete-collection", "resourceslices", func(a k8stesting.Action) (bool, runtime.Object, error) {
		wiped <- a.(k8stesting.DeleteCollectionAction).GetListRestrictions().Fields.String()
		return true, nil, nil
	})
	return wiped
}

func expect[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("did not see " + what)
		panic("unreachable")
	}
}

// While a driver is replaced, the newest that can be reached is called, and the other
// goes on once that is gone.
func TestRollingUpdate(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"), claimOf("two", []string{"p"}, gpu+"/b of r"), claimOf("three", []string{"p"}, gpu+"/c of r"))
	first, stopFirst := n.start(t, gpu, "i")
	n.prepared(t, podOf("p", "one"))
	second, _ := n.start(t, gpu, "j")
	n.prepared(t, podOf("p", "two"))
	want(t, "the first was called to", first.called(), "prepare one")
	want(t, "the second was called to", second.called(), "prepare two")
	stopFirst()
	n.prepared(t, podOf("p", "three"))
	want(t, "the second was called to", second.called(), "prepare three")
}

func TestOlderGoesOn(t *testing.T) {
	n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r"))
	first, _ := n.start(t, gpu, "i")
	_, stopSecond := n.start(t, gpu, "j")
	stopSecond()
	for end := time.Now().Add(patience); n.Prepare(t.Context(), podOf("p", "one")) != nil; { // it may be called while it goes
		if time.Now().After(end) {
			t.Fatal("the first is not called")
		}
	}
	want(t, "the first was called to", first.called(), "prepare one")
}

// Slices are removed at the start, and once a driver has been away for too long.
func TestWipe(t *testing.T) {
	n := newNode(t)
	wiped := n.wiped()
	n.Wipe(t.Context())
	want(t, "wiped at the start", expect(t, wiped, "a wipe"), "spec.nodeName=worker")
	_, stop := n.start(t, gpu, "i")
	stop()
	got := expect(t, wiped, "a wipe")
	if !slices.Equal(slices.Sorted(strings.SplitSeq(got, ",")), []string{"spec.driver=gpu.example.com", "spec.nodeName=worker"}) {
		t.Errorf("wiped %s", got)
	}
}

// A driver that is there again in time keeps its slices.
func TestNoWipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := New(t.Context(), Options{Dir: t.TempDir(), Node: "worker"})
		i := &instance{k: k, driver: gpu, endpoint: "/s"}
		if err := k.drivers.add(i); err != nil {
			t.Fatal(err)
		}
		k.note(gpu)
		time.Sleep(away - time.Second)
		k.drivers.mu.Lock()
		i.connected = true
		k.drivers.mu.Unlock()
		k.note(gpu)
		time.Sleep(time.Hour) // a wipe would have no client to ask, and fail
		if err := k.drivers.add(&instance{driver: gpu, endpoint: "/s"}); err == nil || !strings.Contains(err.Error(), "endpoint /s already registered") {
			t.Errorf("a socket was taken twice: %v", err)
		}
		k.drivers.all = nil
	})
}

// The status of a pod says how its devices are.
func TestHealthOfPod(t *testing.T) {
	for _, version := range []kubeletplugin.Option{kubeletplugin.HealthV1(true), kubeletplugin.HealthV1(false)} {
		n := newNode(t, claimOf("one", []string{"p"}, gpu+"/a of r", gpu+"/b of s"))
		d, stop := n.start(t, gpu, "i", version)
		p := podOf("p", "one")
		p.Spec.Containers[1].Resources.Claims = []v1.ResourceClaim{{Name: "one", Request: "s/sub"}}
		n.prepared(t, p)
		health := func(a, b v1.ResourceHealth) map[string][]v1.ResourceStatus {
			a.ResourceID, b.ResourceID = "gpu.example.com/dev=one-a", "gpu.example.com/dev=one-b"
			return map[string][]v1.ResourceStatus{
				"main": {{Name: "claim:one", Resources: []v1.ResourceHealth{a, b}}},
				"side": {{Name: "claim:one/s/sub", Resources: []v1.ResourceHealth{b}}},
			}
		}
		unknown := v1.ResourceHealth{Health: v1.ResourceHealthStatusUnknown}
		if diff := cmp.Diff(health(unknown, unknown), n.Health(p)); diff != "" {
			t.Error(diff)
		}
		d.reports <- kubeletplugin.DeviceHealthReport{Devices: []kubeletplugin.DeviceHealth{
			{PoolName: "pool", DeviceName: "a", Health: kubeletplugin.HealthStatusHealthy, HealthCheckTimeout: time.Hour},
			{PoolName: "pool", DeviceName: "b", Health: kubeletplugin.HealthStatusUnhealthy, HealthCheckTimeout: time.Hour, Message: "too hot"},
		}}
		if pods := expect(t, n.changed, "a change"); !slices.Equal(pods, []types.UID{"p"}) {
			t.Errorf("told of %v", pods)
		}
		hot := v1.ResourceHealth{Health: v1.ResourceHealthStatusUnhealthy, Message: new("too hot")}
		if diff := cmp.Diff(health(v1.ResourceHealth{Health: v1.ResourceHealthStatusHealthy}, hot), n.Health(p)); diff != "" {
			t.Error(diff)
		}
		stop()
		expect(t, n.changed, "a change")
		if diff := cmp.Diff(health(unknown, unknown), n.Health(p)); diff != "" {
			t.Error(diff)
		}
	}
}

// Word of a device holds for its time only, and survives a restart of boot.
func TestHealthGetsOld(t *testing.T) {
	start := time.Unix(1000, 0)
	h := &health{said: checkpoint.Health{}, by: map[string]*instance{}}
	by := &instance{driver: gpu}
	word := func(device string, seconds int64) *dra.DeviceHealth {
		return &dra.DeviceHealth{
			Device: &dra.DeviceIdentifier{PoolName: "pool", DeviceName: device}, Health: dra.HealthStatus_HEALTHY, HealthCheckTimeoutSeconds: seconds,
		}
	}
	changed, next := h.update(by, []*dra.DeviceHealth{word("a", 10), word("b", 0)}, start)
	if !changed || !next.Equal(start.Add(10*time.Second)) {
		t.Errorf("%t, %s", changed, next)
	}
	if changed, _ := h.update(by, []*dra.DeviceHealth{word("a", 10)}, start.Add(5*time.Second)); changed {
		t.Error("the same word once more is a change")
	}
	is := func(device string, after time.Duration) v1.ResourceHealthStatus {
		return h.of(used{gpu, checkpoint.Device{PoolName: "pool", DeviceName: device}}, start.Add(after)).Health
	}
	for _, tt := range []struct {
		device string
		after  time.Duration
		want   v1.ResourceHealthStatus
	}{
		{"a", 14 * time.Second, v1.ResourceHealthStatusHealthy},
		{"a", 15 * time.Second, v1.ResourceHealthStatusUnknown},
		{"b", 29 * time.Second, v1.ResourceHealthStatusHealthy},
		{"b", 30 * time.Second, v1.ResourceHealthStatusUnknown},
		{"c", 0, v1.ResourceHealthStatusUnknown},
	} {
		if got := is(tt.device, tt.after); got != tt.want {
			t.Errorf("%s after %s: %s", tt.device, tt.after, got)
		}
	}
	if changed, _ := h.update(by, nil, start.Add(time.Minute)); !changed {
		t.Error("what got too old is no change")
	}
	if h.forget(&instance{driver: gpu}) {
		t.Error("what another said is forgotten")
	}
	if !h.forget(by) || len(h.said) > 0 {
		t.Errorf("left is %v", h.said)
	}
}

func TestShortened(t *testing.T) {
	long := strings.Repeat("é", v1.ResourceHealthMessageMaxLength)
	if got := shortened(long); len(got) > v1.ResourceHealthMessageMaxLength || !strings.HasSuffix(got, "é...") {
		t.Errorf("%q", got)
	}
	if got := shortened("short"); got != "short" {
		t.Errorf("%q", got)
	}
}
