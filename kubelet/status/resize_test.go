package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/kubelet/plan/scene"
	"boot.internal/kubelet/status"
)

const (
	resized = `pod generation=3
regular a cpu=200m/
sandbox s ready
is a running
applied a cpu=200m/`
	resizing = `pod generation=3
regular a cpu=200m/
sandbox s ready
is a running
applied a cpu=100m/`
	failing = resizing + `
failure pod-resize retry=5s message=no`
	over = `pod generation=3 policy=Never
regular a cpu=200m/
sandbox s ready
is a exited code=0
applied a cpu=100m/`
)

func progress(generation int64, reason, message string) v1.PodCondition {
	return v1.PodCondition{
		Type: v1.PodResizeInProgress, Status: v1.ConditionTrue, Reason: reason, Message: message, ObservedGeneration: generation,
	}
}

// TestResizeConditions follows a resize by what is said of it (KEP-1287).
func TestResizeConditions(t *testing.T) {
	waits := &status.Pending{Reason: v1.PodReasonDeferred, Message: "no room", Generation: 3}
	pending := v1.PodCondition{
		Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: v1.PodReasonDeferred, Message: "no room", ObservedGeneration: 3,
	}
	for name, c := range map[string]struct {
		scene  string
		resize status.Resize
		before []v1.PodCondition
		want   []v1.PodCondition
	}{
		"nothing to say":                 {scene: resized},
		"it waits":                       {scene: resized, resize: status.Resize{Pending: waits}, want: []v1.PodCondition{pending}},
		"it is being applied":            {scene: resizing, resize: status.Resize{Generation: 3}, want: []v1.PodCondition{progress(3, "", "")}},
		"the worker has not heard of it": {scene: resized, resize: status.Resize{Generation: 4}, want: []v1.PodCondition{progress(4, "", "")}},
		"applied":                        {scene: resized, resize: status.Resize{Generation: 3}, before: []v1.PodCondition{progress(3, "", "")}},
		"another waits meanwhile": {
			scene: resizing, resize: status.Resize{Generation: 2, Pending: waits},
			want: []v1.PodCondition{pending, progress(2, "", "")},
		},
		"after a restart of boot": {scene: resizing, before: []v1.PodCondition{progress(2, "", "")}, want: []v1.PodCondition{progress(2, "", "")}},
		"that nobody told of":     {scene: resizing, want: []v1.PodCondition{progress(3, "", "")}},
		"it fails":                {scene: failing, resize: status.Resize{Generation: 3}, want: []v1.PodCondition{progress(3, v1.PodReasonError, "no")}},
		"it failed and is tried again": {
			scene: resizing, resize: status.Resize{Generation: 3}, before: []v1.PodCondition{progress(3, v1.PodReasonError, "no")},
			want: []v1.PodCondition{progress(3, v1.PodReasonError, "no")},
		},
		"another is allocated after a failure": {
			scene: resizing, resize: status.Resize{Generation: 3}, before: []v1.PodCondition{progress(2, v1.PodReasonError, "no")},
			want: []v1.PodCondition{progress(3, "", "")},
		},
		"the pod is over": {scene: over, resize: status.Resize{Generation: 3, Pending: waits}, before: []v1.PodCondition{pending}},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, c.scene)
			in.Resize, in.Prev.Conditions = c.resize, c.before
			var got []v1.PodCondition
			for _, is := range status.Of(in).Conditions {
				if is.Type == v1.PodResizePending || is.Type == v1.PodResizeInProgress {
					got = append(got, is)
				}
			}
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(v1.PodCondition{}, "LastTransitionTime")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The time of transition is that of the reason.
func TestResizeTransition(t *testing.T) {
	in := input(t, failing)
	hour := metav1.NewTime(scene.Now().Add(-time.Hour))
	before := progress(3, v1.PodReasonError, "older")
	before.LastTransitionTime = hour
	in.Prev.Conditions = []v1.PodCondition{before}
	for _, is := range status.Of(in).Conditions {
		if is.Type == v1.PodResizeInProgress && (!is.LastTransitionTime.Equal(&hour) || is.Message != "no") {
			t.Errorf("%+v", is)
		}
	}
}

func quantities(cpu, memory string) v1.ResourceList {
	return v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
}

// What a container has is what the runtime says, as far as that knows it.
func TestAppliedResources(t *testing.T) {
	for name, c := range map[string]struct {
		cpu, memory string // allocated, as request and limit
		runtime     *v1.ResourceRequirements
		applied     string // memory request
		want        v1.ResourceRequirements
	}{
		"all of it": {
			cpu: "200m", memory: "2Mi", applied: "1Mi",
			runtime: &v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("100m")}, Limits: quantities("100m", "1Mi")},
			want:    v1.ResourceRequirements{Requests: quantities("100m", "1Mi"), Limits: quantities("100m", "1Mi")},
		},
		"nothing": {
			cpu: "200m", memory: "2Mi",
			want: v1.ResourceRequirements{Requests: quantities("200m", "2Mi"), Limits: quantities("200m", "2Mi")},
		},
		"less than the kernel knows": {
			cpu: "1m", memory: "2Mi", applied: "2Mi",
			runtime: &v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2m")}, Limits: quantities("10m", "2Mi")},
			want:    v1.ResourceRequirements{Requests: quantities("1m", "2Mi"), Limits: quantities("1m", "2Mi")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, "pod\nregular a cpu="+c.cpu+"/"+c.cpu+" memory="+c.memory+"/"+c.memory+"\nsandbox s ready\nis a running")
			in.Have.Containers[0].Resources = c.runtime
			if c.applied != "" {
				in.Have.Applied = map[string]v1.ResourceRequirements{"a": {Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse(c.applied)}}}
			}
			got := status.Of(in).ContainerStatuses[0]
			if diff := cmp.Diff(&c.want, got.Resources); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(quantities(c.cpu, c.memory), got.AllocatedResources); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The pod as a whole has its own resources, or the sum of its containers'
// (KEP-5419).
func TestWholePod(t *testing.T) {
	in := input(t, "pod cpu=1/2\nregular a cpu=200m/\nsandbox s ready\nis a running\napplied pod cpu=500m/2\napplied a cpu=200m/")
	s := status.Of(in)
	if cpu := s.AllocatedResources.Cpu(); cpu.MilliValue() != 1000 {
		t.Errorf("allocated %s", cpu)
	}
	if r := s.Resources; r == nil || r.Requests.Cpu().MilliValue() != 500 || r.Limits.Cpu().MilliValue() != 2000 {
		t.Errorf("resources %v", r)
	}
}

func TestDevicesOfContainers(t *testing.T) { // KEP-4680
	want := []v1.ResourceStatus{{Name: "example.com/gpu", Resources: []v1.ResourceHealth{{ResourceID: "0", Health: v1.ResourceHealthStatusUnhealthy}}}}
	for name, scene := range map[string]string{
		"one that runs":                  "pod\nregular a\nsandbox s ready\nis a running",
		"one whose image does not come":  "pod\nregular a\nsandbox s ready\nfailure a retry=10s reason=ImagePullBackOff message=gone",
		"one that waits for its restart": "pod\nregular a\nsandbox s ready\nis a exited code=1 ago=1s backoff=10s",
	} {
		in := input(t, scene)
		in.Have.Devices = map[string][]v1.ResourceStatus{"a": want}
		if diff := cmp.Diff(want, status.Of(in).ContainerStatuses[0].AllocatedResourcesStatus); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
