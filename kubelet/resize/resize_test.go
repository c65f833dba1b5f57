package resize_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/resize"
	"boot.internal/kubelet/status"
)

// asking is a pod of the API that asks for so much CPU.
func asking(name, cpu string, generation int64) *v1.Pod {
	p := &v1.Pod{}
	p.Namespace, p.Name, p.UID, p.Generation = "default", name, types.UID(name), generation
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceAPI}
	p.Spec.Containers = []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu)},
	}}}
	return p
}

func important(p *v1.Pod, priority int32) *v1.Pod {
	p.Spec.Priority = &priority
	return p
}

func twoCPUs() admit.Node {
	return admit.Node{Name: "n1", Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2"), v1.ResourcePods: resource.MustParse("9")}}
}

// A bench is a ledger with what it said.
type bench struct {
	*resize.Ledger
	t   *testing.T
	dir string
}

func open(t *testing.T, dir string) *bench {
	t.Helper()
	return &bench{resize.Open(dir, setInStone, slog.New(slog.DiscardHandler)), t, dir}
}

// expect settles and compares what is allocated and what is new: "a=1 b=500m",
// "a:ResizeStarted".
func (b *bench) expect(allocated, news string, pods ...*v1.Pod) {
	b.t.Helper()
	all, said := b.Settle(pods, nil, twoCPUs(), func(p *v1.Pod) bool { return p.Name == "over" })
	var got, heard []string
	for _, p := range all {
		got = append(got, p.Name+"="+p.Spec.Containers[0].Resources.Requests.Cpu().String())
	}
	for _, n := range said {
		heard = append(heard, n.Pod.Name+":"+n.Reason)
	}
	if s := strings.Join(got, " "); s != allocated {
		b.t.Errorf("allocated %q, want %q", s, allocated)
	}
	if s := strings.Join(heard, " "); s != news {
		b.t.Errorf("news %q, want %q", s, news)
	}
}

func TestSettle(t *testing.T) {
	b := open(t, t.TempDir())
	b.Allocate(asking("a", "500m", 1))
	b.Allocate(asking("b", "500m", 1))
	b.expect("a=500m b=500m", "", asking("a", "500m", 1), asking("b", "500m", 1))
	b.expect("a=1 b=500m", "a:ResizeStarted", asking("a", "1", 2), asking("b", "500m", 1))
	if s := b.State("a"); s.Generation != 2 || s.Pending != nil {
		t.Errorf("state %+v", s)
	}
	b.expect("a=1 b=500m", "b:ResizeDeferred", asking("a", "1", 2), asking("b", "1500m", 2))
	if s := b.State("b"); s.Pending == nil || s.Pending.Reason != v1.PodReasonDeferred || s.Pending.Generation != 2 ||
		s.Pending.Message != "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000" {
		t.Errorf("state %+v", s.Pending)
	}
	b.expect("a=1 b=500m", "", asking("a", "1", 2), asking("b", "1500m", 2))
	// Room comes from another that shrinks, and who frees some is asked first.
	b.expect("b=1500m a=500m", "a:ResizeStarted b:ResizeStarted", asking("b", "1500m", 2), asking("a", "500m", 3))
	if s := b.State("b"); s.Pending != nil {
		t.Errorf("state %+v", s.Pending)
	}
}

// setInStone refuses to resize one pod.
func setInStone(p, _ *v1.Pod) string {
	if p.Name == "stone" {
		return "it is of stone"
	}
	return ""
}

// What can never be says so, and does not wait for room.
func TestInfeasible(t *testing.T) {
	b := open(t, t.TempDir())
	b.Allocate(asking("stone", "500m", 1))
	b.expect("stone=500m", "stone:ResizeInfeasible", asking("stone", "600m", 2))
	b.expect("stone=500m", "", asking("stone", "600m", 2))
	if s := b.State("stone"); s.Pending == nil || *s.Pending != (status.Pending{Reason: v1.PodReasonInfeasible, Message: "it is of stone", Generation: 2}) {
		t.Errorf("state %+v", s.Pending)
	}
	b.expect("stone=500m", "stone:", asking("stone", "500m", 3))
}

func TestSettleOrder(t *testing.T) {
	for name, c := range map[string]struct {
		a, b      *v1.Pod
		allocated string
	}{
		"who matters more":           {important(asking("a", "1500m", 2), 1), important(asking("b", "1500m", 2), 2), "a=500m b=1500m"},
		"who waits for longer":       {asking("a", "1500m", 2), asking("b", "1500m", 2), "a=1500m b=500m"},
		"what is over holds nothing": {asking("over", "1500m", 2), asking("b", "1500m", 2), "over=500m b=1500m"},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := open(t, t.TempDir())
			for _, p := range []*v1.Pod{c.a, c.b} {
				ledger.Allocate(asking(p.Name, "500m", 1))
			}
			all, _ := ledger.Settle([]*v1.Pod{c.a, c.b}, nil, twoCPUs(), func(p *v1.Pod) bool { return p.Name == "over" })
			got := all[0].Name + "=" + all[0].Spec.Containers[0].Resources.Requests.Cpu().String() + " " +
				all[1].Name + "=" + all[1].Spec.Containers[0].Resources.Requests.Cpu().String()
			if got != c.allocated {
				t.Errorf("allocated %q, want %q", got, c.allocated)
			}
		})
	}
}

// A resize that is taken back waits no more.
func TestReverted(t *testing.T) {
	b := open(t, t.TempDir())
	b.Allocate(asking("a", "500m", 1))
	b.expect("a=500m", "a:ResizeDeferred", asking("a", "3", 2))
	b.expect("a=500m", "a:ResizeDeferred", asking("a", "4", 3))
	b.expect("a=500m", "a:", asking("a", "500m", 4))
	if s := b.State("a"); s.Pending != nil || s.Generation != 0 {
		t.Errorf("state %+v", s)
	}
}

func TestStaticPodsAreWhatTheyAre(t *testing.T) {
	b := open(t, t.TempDir())
	p := asking("a", "500m", 1)
	p.Annotations[pod.ConfigSource] = pod.SourceFile
	b.Allocate(p)
	b.Starts(p, "c")
	bigger := asking("a", "3", 1)
	bigger.Annotations = p.Annotations
	b.expect("a=3", "", bigger)
	if got := b.Applied("a"); got != nil {
		t.Errorf("applied %v", got)
	}
}

func TestApplied(t *testing.T) {
	b := open(t, t.TempDir())
	p := asking("a", "500m", 1)
	b.Starts(p, "")
	b.Starts(p, "c")
	if diff := cmp.Diff(map[string]v1.ResourceRequirements{"c": p.Spec.Containers[0].Resources}, b.Applied("a")); diff != "" {
		t.Error(diff)
	}
	p = asking("a", "1", 2)
	p.Spec.Resources = &v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}}
	b.Resized(p, []pod.Instance{{Name: "c"}})
	want := map[string]v1.ResourceRequirements{"": *p.Spec.Resources, "c": p.Spec.Containers[0].Resources}
	if diff := cmp.Diff(want, b.Applied("a")); diff != "" {
		t.Error(diff)
	}
	b.Forget("a")
	if got := b.Applied("a"); got != nil {
		t.Errorf("applied %v after it is gone", got)
	}
}

// What was allocated and applied survives a restart, and a damaged file does no
// more harm than to be lost.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	p := asking("a", "500m", 1)
	b.Allocate(p)
	b.Starts(p, "c")
	b.Allocate(asking("gone", "500m", 1))
	b.Keep(map[types.UID]bool{"a": true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Run(ctx)

	b = open(t, dir)
	b.expect("a=500m", "a:ResizeDeferred", asking("a", "3", 2))
	if len(b.Applied("a")) != 1 {
		t.Errorf("applied %v", b.Applied("a"))
	}
	b.expect("gone=1", "", asking("gone", "1", 2))

	path := filepath.Join(dir, "allocated_pods_state")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}x", strings.Replace(string(data), "500m", "600m", 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir).expect("a=1", "", asking("a", "1", 2))
	}
}

// The format is the kubelet's: it reads the file, and its checksum.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	const file = `{"data":"{\"entries\":{\"a\":{\"ContainerResources\":{\"c\":{\"requests\":{\"cpu\":\"500m\"}}},` +
		`\"PodLevelResources\":null,\"EmptyDirVolumeLimits\":null}}}","checksum":`
	b := open(t, dir)
	b.Allocate(asking("a", "500m", 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b.Run(ctx)
	data, err := os.ReadFile(filepath.Join(dir, "allocated_pods_state"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(data), file) {
		t.Errorf("file %s", data)
	}
}
