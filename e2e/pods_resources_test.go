package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/e2e/internal/lab"
)

// resourcesTests are about what pods may have of the node.
func resourcesTests() []podTest {
	return []podTest{
		{"pods the node does not admit", testNotAdmitted},
		{"a critical pod puts another out", testPreempted},
		{"a container is resized while it runs", testResize},
		{"a container is restarted to be resized", testResizeByRestart},
		{"devices of a plugin", testDevices},
		{"devices that are claimed", testClaimedDevices},
	}
}

// pinned returns a boxPod that no scheduler has looked at.
func (c *podCluster) pinned(name string) *corev1.Pod {
	p := boxPod(name, "sleep", "infinity")
	p.Spec.NodeName = c.Name
	return p
}

// sized gives the only container of a pod "cpu memory" as requests and as limits.
func sized(p *corev1.Pod, requests, limits string) *corev1.Pod {
	p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: amounts(requests), Limits: amounts(limits)}
	return p
}

func amounts(text string) corev1.ResourceList {
	cpu, memory, _ := strings.Cut(text, " ")
	return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
}

func testNotAdmitted(t *testing.T, c *podCluster) {
	for reason, change := range map[string]func(*corev1.Pod){
		"OutOfcpu":     func(p *corev1.Pod) { sized(p, "1000 1Mi", "1000 1Mi") },
		"NodeAffinity": func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"e2e.boot.internal/is": "not"} },
		"SysctlForbidden": func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "1"}}}
		},
	} {
		p := c.pinned(strings.ToLower(reason))
		change(p)
		c.Create(t, p)
		is := c.AwaitPhase(t, p.Name, corev1.PodFailed)
		if is.Status.Reason != reason || !strings.HasPrefix(is.Status.Message, "Pod was rejected: ") {
			t.Errorf("%s: %s: %s", reason, is.Status.Reason, is.Status.Message)
		}
		c.AwaitEvent(t, p.Name, reason)
	}
}

// seat is a resource that nobody but testPreempted asks for, so that nobody else
// has to make room.
const seat = corev1.ResourceName("e2e.boot.internal/seat")

func testPreempted(t *testing.T, c *podCluster) {
	_, err := c.Client.CoreV1().Nodes().Patch(t.Context(), c.Name, types.MergePatchType,
		[]byte(`{"status":{"capacity":{"`+string(seat)+`":"1"}}}`), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	lab.Until(t, patience, "see the seat allocatable", func(ctx context.Context) error {
		n, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if q := n.Status.Allocatable[seat]; err == nil && q.Value() != 1 {
			err = fmt.Errorf("allocatable are %v", n.Status.Allocatable)
		}
		return err
	})
	seated := func(name string) *corev1.Pod {
		p := c.pinned(name)
		one := corev1.ResourceList{seat: resource.MustParse("1")}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: one, Limits: one}
		return p
	}
	first := seated("first")
	first.Spec.Containers[0].Args = []string{"trap-term", "1ms", "1"} // had it ended well, it would not have failed
	c.Create(t, first)
	c.AwaitReady(t, "first")
	c.Create(t, seated("second"))
	if p := c.AwaitPhase(t, "second", corev1.PodFailed); p.Status.Reason != "OutOf"+string(seat) {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}

	critical := seated("critical")
	critical.Spec.PriorityClassName = "system-cluster-critical"
	c.Create(t, critical)
	out := c.AwaitPhase(t, "first", corev1.PodFailed)
	if out.Status.Reason != "Preempting" || out.Status.Message != "Preempted in order to admit critical pod" {
		t.Errorf("%s: %s", out.Status.Reason, out.Status.Message)
	}
	if d := conditionOf(out, corev1.DisruptionTarget); d == nil || d.Reason != corev1.PodReasonTerminationByKubelet {
		t.Errorf("DisruptionTarget is %v", d)
	}
	c.AwaitReady(t, "critical")
}

func conditionOf(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// Resize asks for other resources for the only container of a pod.
func (c *podCluster) Resize(t *testing.T, name, requests, limits string) {
	t.Helper()
	p := sized(c.Get(t, name), requests, limits)
	p.ResourceVersion = "" // the node writes the pod's status meanwhile
	if _, err := c.Client.CoreV1().Pods(c.Namespace).UpdateResize(t.Context(), name, p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// AwaitResized waits until the API says that the only container of a pod has what
// its spec asks for.
func (c *podCluster) AwaitResized(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return c.Await(t, name, "resized", func(p *corev1.Pod) error {
		s := p.Status.ContainerStatuses[0]
		switch {
		case p.Status.ObservedGeneration != p.Generation:
			return errors.New("it was not seen yet")
		case conditionOf(p, corev1.PodResizePending) != nil || conditionOf(p, corev1.PodResizeInProgress) != nil:
			return errors.New("it is being resized")
		case s.Resources == nil || !equality.Semantic.DeepEqual(*s.Resources, p.Spec.Containers[0].Resources):
			return fmt.Errorf("it has %v", s.Resources)
		case !equality.Semantic.DeepEqual(s.AllocatedResources, p.Spec.Containers[0].Resources.Requests):
			return fmt.Errorf("it is allocated %v", s.AllocatedResources)
		}
		return nil
	})
}

// limit returns the values of a file in the cgroups of a pod and its containers.
func (c *podCluster) limit(t *testing.T, p *corev1.Pod, file string) string {
	t.Helper()
	out := c.Run(t, "sh", "-c", "find /sys/fs/cgroup/ -path '*pod"+string(p.UID)+"*' -name "+file+" -exec cat {} + || true") // groups of others go while it looks
	return strings.Join(strings.Fields(out), " ")
}

func testResize(t *testing.T, c *podCluster) {
	c.Create(t, sized(boxPod("box", "sleep", "infinity"), "100m 32Mi", "200m 64Mi"))
	first := c.AwaitReady(t, "box").Status.ContainerStatuses[0]
	for _, to := range []struct{ requests, limits, memory, quota string }{
		{"150m 48Mi", "300m 96Mi", "100663296", "30000"},
		{"50m 16Mi", "100m 32Mi", "33554432", "10000"},
	} {
		c.Resize(t, "box", to.requests, to.limits)
		p := c.AwaitResized(t, "box")
		if s := p.Status.ContainerStatuses[0]; s.RestartCount != 0 || s.ContainerID != first.ContainerID {
			t.Errorf("it was restarted: %s", s.String())
		}
		if q := p.Status.AllocatedResources[corev1.ResourceCPU]; q.Cmp(resource.MustParse(strings.Fields(to.requests)[0])) != 0 {
			t.Errorf("the pod is allocated %v", p.Status.AllocatedResources)
		}
		for file, want := range map[string]string{"memory.limit_in_bytes": to.memory, "cpu.cfs_quota_us": to.quota} {
			for got := range strings.FieldsSeq(c.limit(t, p, file)) {
				if got != want && got != "-1" && len(got) < 19 { // the sandbox is not limited
					t.Errorf("%s is %s, want %s", file, c.limit(t, p, file), want)
				}
			}
		}
	}
	c.AwaitEvent(t, "box", "ResizeStarted")
	if m := c.AwaitEvent(t, "box", "ResizeCompleted"); !strings.HasPrefix(m, `Pod resize completed: {"containers":[{"name":"box"`) {
		t.Error(m)
	}
}

func testResizeByRestart(t *testing.T, c *podCluster) {
	p := sized(boxPod("box", "sleep", "infinity"), "100m 32Mi", "200m 64Mi")
	p.Spec.Containers[0].ResizePolicy = []corev1.ContainerResizePolicy{
		{ResourceName: corev1.ResourceMemory, RestartPolicy: corev1.RestartContainer},
	}
	c.Create(t, p)
	c.AwaitReady(t, "box")
	c.Resize(t, "box", "150m 32Mi", "200m 64Mi")
	if s := c.AwaitResized(t, "box").Status.ContainerStatuses[0]; s.RestartCount != 0 {
		t.Errorf("it was restarted for its CPU: %s", s.String())
	}
	c.Resize(t, "box", "150m 48Mi", "200m 96Mi")
	c.Await(t, "box", "restarted", func(p *corev1.Pod) error {
		if n := p.Status.ContainerStatuses[0].RestartCount; n != 1 {
			return fmt.Errorf("%d restarts", n)
		}
		return nil
	})
	p = c.AwaitResized(t, "box")
	if got := c.limit(t, p, "memory.limit_in_bytes"); !strings.Contains(got, "100663296") {
		t.Errorf("memory limits are %s", got)
	}
}

// resizeWaits asks for more than there is. To the scheduler the pod has it meanwhile:
// others would find no room, and one that matters more would put it out.
func (c *podCluster) resizeWaits(t *testing.T) {
	c.Create(t, sized(boxPod("box", "sleep", "infinity"), "100m 32Mi", "200m 64Mi"))
	c.AwaitReady(t, "box")
	node, err := c.Client.CoreV1().Nodes().Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	much := node.Status.Allocatable.Cpu().MilliValue() - 100 // of what others use some
	c.Resize(t, "box", fmt.Sprintf("%dm 32Mi", much), fmt.Sprintf("%dm 64Mi", much))
	c.Await(t, "box", "waiting for room", func(p *corev1.Pod) error {
		is := conditionOf(p, corev1.PodResizePending)
		if is == nil || is.Status != corev1.ConditionTrue || is.Reason != corev1.PodReasonDeferred || is.ObservedGeneration != p.Generation ||
			!strings.HasPrefix(is.Message, fmt.Sprintf("Node didn't have enough resource: cpu, requested: %d, used: ", much)) {
			return fmt.Errorf("condition %v", is)
		}
		if q := p.Status.ContainerStatuses[0].AllocatedResources[corev1.ResourceCPU]; q.MilliValue() != 100 {
			return fmt.Errorf("allocated %s", &q)
		}
		return nil
	})
	c.AwaitEvent(t, "box", "ResizeDeferred")
	c.Resize(t, "box", "100m 32Mi", "200m 64Mi")
	c.AwaitResized(t, "box")
	c.Delete(t, "box", nil)
	c.AwaitGone(t, "box")
}
