package kubelet

import (
	"log/slog"
	"maps"
	goruntime "runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/device"
	"boot.internal/kubelet/evict"
	"boot.internal/kubelet/mirror"
	"boot.internal/kubelet/node"
	"boot.internal/kubelet/podsapi"
	"boot.internal/kubelet/status"
)

// telling returns a kubelet of which the parts work that tell of pods.
func telling(t *testing.T) *kubelet {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	k := &kubelet{
		podsAPI:  podsapi.New(nil),
		claims:   noClaims(t),
		devices:  device.New(device.Options{Dir: t.TempDir(), Changed: func() {}, Log: log}),
		pressure: evict.New(evict.Options{}),
		o:        Options{Config: &kubeletv1beta1.KubeletConfiguration{}, Node: "n1", Labels: map[string]string{"disk": "ssd"}}, metrics: newMetrics(),
		events: newEvents("n1", log), dispatch: newDispatcher(log), over: map[types.UID]bool{},
	}
	k.mirrors = mirror.New(mirror.Options{Node: "n1", Log: log})
	k.writer = status.NewWriter(status.WriterOptions{Mirrors: k.mirrors, Logger: log})
	return k
}

// rechecked reports whether the dispatcher was asked to look again.
func (k *kubelet) rechecked() bool {
	select {
	case <-k.dispatch.again:
		return true
	default:
		return false
	}
}

func TestRejectedPodIsTold(t *testing.T) { // SP-35
	k := telling(t)
	a, b := static("a", "1"), static("b", "2")
	k.now, k.rejected = []*v1.Pod{a, b}, []*v1.Pod{b}
	why := admit.Rejection{Reason: "NodePorts", Message: "taken"}
	k.sayRejected(b, why, true)
	k.sayRejected(b, why, false)

	pods := k.Pods()
	if len(pods) != 2 || pods[1].Name != "b" {
		t.Fatalf("pods %v, want the rejected one among them", pods)
	}
	got := pods[1].Status
	if got.StartTime == nil {
		t.Error("no start time")
	}
	got.StartTime = nil
	want := v1.PodStatus{Phase: v1.PodFailed, Reason: "NodePorts", Message: "Pod was rejected: taken", QOSClass: v1.PodQOSBestEffort}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(k.events.pending) != 1 || k.events.pending[0].reason != "NodePorts" || k.events.pending[0].message != "taken" {
		t.Errorf("events %+v, want one", k.events.pending)
	}
	for name, want := range map[string]float64{"kubelet_desired_pods": 2, "kubelet_active_pods": 1} {
		if got := gathered(t, k, name)["static=true "]; got != want {
			t.Errorf("%s %v, want %v", name, got, want)
		}
	}
}

func TestPodThatIsOverFreesItsPlace(t *testing.T) { // SP-35
	k := telling(t)
	for _, c := range []struct{ over, news bool }{{false, false}, {true, true}, {true, false}, {false, false}, {true, true}} {
		k.noteOver("1", c.over)
		if got := k.rechecked(); got != c.news || k.isOver("1") != c.over {
			t.Errorf("over %v: looked again %v, want %v", c.over, got, c.news)
		}
	}
}

func TestOffer(t *testing.T) { // SP-35
	k := telling(t)
	// Of this machine nothing can be found out.
	nowhere := node.Machine{Root: t.TempDir(), Dir: "missing"}
	var err error
	if k.node, err = node.New(node.Options{Name: "n1", MaxPods: 7, Machine: nowhere, Log: k.o.Logger}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		node   *v1.Node
		labels map[string]string
		news   bool
	}{
		{"as it will be registered", nil, map[string]string{
			v1.LabelHostname: "n1", v1.LabelOSStable: "linux", v1.LabelArchStable: goruntime.GOARCH, "disk": "ssd",
		}, true},
		{"as it is registered", labelled("beos", "tape"), map[string]string{v1.LabelOSStable: "linux", "disk": "tape"}, true},
		{"nothing of interest changed", labelled("beos", "tape"), map[string]string{v1.LabelOSStable: "linux", "disk": "tape"}, false},
		{"another label", labelled("beos", "ssd"), map[string]string{v1.LabelOSStable: "linux", "disk": "ssd"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.setNode(c.node)
			got := k.offers.Load()
			if diff := cmp.Diff(c.labels, got.Labels); diff != "" {
				t.Error(diff)
			}
			names := slices.Collect(maps.Keys(got.Allocatable))
			if pods := got.Allocatable[v1.ResourcePods]; len(names) != 1 || pods.Value() != 7 {
				t.Errorf("allocatable %v, want pods alone: nothing else is known", got.Allocatable)
			}
			if news := k.rechecked(); news != c.news {
				t.Errorf("looked again %v, want %v", news, c.news)
			}
		})
	}
}

func TestOfferExtended(t *testing.T) {
	n := &v1.Node{}
	n.Status.Allocatable = v1.ResourceList{
		"example.com/gpu": resource.MustParse("2"), v1.ResourceCPU: resource.MustParse("64"), "node.kubernetes.io/own": resource.MustParse("1"),
	}
	got := withExtended(v1.ResourceList{v1.ResourceCPU: resource.MustParse("4")}, n)
	want := v1.ResourceList{v1.ResourceCPU: resource.MustParse("4"), "example.com/gpu": resource.MustParse("2")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func labelled(os, disk string) *v1.Node {
	n := &v1.Node{}
	n.Labels = map[string]string{v1.LabelOSStable: os, "disk": disk}
	return n
}
