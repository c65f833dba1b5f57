package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// lifeTests are about how pods of the API come, end and go.
func lifeTests() []podTest {
	return []podTest{
		{"a pod runs and is deleted", testRunAndDelete},
		{"a pod that completes", testCompletes},
		{"a pod past its deadline", testDeadline},
		{"a finalizer keeps a pod that has ended", testFinalizer},
		{"a pod is deleted by force and made again", testForce},
		{"grace shrinks while it runs", testShrinkingGrace},
		{"a readiness gate", testReadinessGate},
	}
}

func testRunAndDelete(t *testing.T, c *podCluster) {
	c.Create(t, boxPod("web", "http", "8080"))
	p := c.AwaitReady(t, "web")
	if p.Status.PodIP == "" || p.Status.HostIP == "" || p.Status.QOSClass != corev1.PodQOSBestEffort {
		t.Errorf("status %s", p.Status.String())
	}
	c.Delete(t, "web", nil)
	c.AwaitGone(t, "web")
}

func testCompletes(t *testing.T, c *podCluster) {
	p := boxPod("job", "exit", "3")
	p.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, p)
	p = c.AwaitPhase(t, "job", corev1.PodFailed)
	if ended := statusOf(p, "job").State.Terminated; ended == nil || ended.ExitCode != 3 {
		t.Errorf("it did not end as it says it does: %s", brief(p))
	}
	c.Delete(t, "job", nil)
	c.AwaitGone(t, "job")
}

func testDeadline(t *testing.T, c *podCluster) {
	p := boxPod("late", "sleep", "infinity")
	p.Spec.ActiveDeadlineSeconds = new(int64(2))
	c.Create(t, p)
	p = c.AwaitPhase(t, "late", corev1.PodFailed)
	if p.Status.Reason != "DeadlineExceeded" || p.Status.Message == "" {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
	c.AwaitEvent(t, "late", "DeadlineExceeded")
}

func testFinalizer(t *testing.T, c *podCluster) {
	p := boxPod("kept", "sleep", "infinity")
	p.Finalizers = []string{"e2e.boot.internal/keep"}
	c.Create(t, p)
	c.AwaitReady(t, "kept")
	c.Delete(t, "kept", nil)
	p = c.Await(t, "kept", "ended", func(p *corev1.Pod) error {
		if s := p.Status.ContainerStatuses[0]; s.State.Terminated == nil || *p.DeletionGracePeriodSeconds != 0 {
			return fmt.Errorf("it runs")
		}
		return nil
	})
	if p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded {
		t.Errorf("phase %s", p.Status.Phase)
	}
	if _, err := c.Client.CoreV1().Pods(c.Namespace).Patch(t.Context(), "kept", types.MergePatchType,
		[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	c.AwaitGone(t, "kept")
}

func testForce(t *testing.T, c *podCluster) {
	first := c.Create(t, boxPod("twin", "sleep", "infinity"))
	c.AwaitReady(t, "twin")
	c.Delete(t, "twin", new(int64(0)))
	second := c.Create(t, boxPod("twin", "http", "8080"))
	c.AwaitReady(t, "twin")
	left, err := engineClient(t, c.Node).ListContainers(t.Context(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
		State:         &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
		LabelSelector: map[string]string{"io.kubernetes.pod.uid": string(first.UID)},
	}})
	if err != nil || len(left.Containers) > 0 {
		t.Errorf("SP-38: beside the second pod run %v of the first: %v", left, err)
	}
	lab.Until(t, patience, "see what the first pod had gone", func(context.Context) error {
		if c.Exists(t, "/var/lib/kubelet/pods/"+string(first.UID)) {
			return fmt.Errorf("its directory is there")
		}
		return nil
	})
	if !c.Exists(t, "/var/lib/kubelet/pods/"+string(second.UID)) {
		t.Errorf("the second pod has no directory")
	}
}

func testShrinkingGrace(t *testing.T, c *podCluster) {
	p := boxPod("slow", "trap-term", "10m")
	p.Spec.TerminationGracePeriodSeconds = new(int64(600))
	// A program that has only begun may not have come to trap anything.
	p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 600}}}
	c.Create(t, p)
	c.AwaitReady(t, "slow")
	c.Delete(t, "slow", nil)
	c.AwaitEvent(t, "slow", "Killing")
	c.Delete(t, "slow", new(int64(1)))
	c.AwaitGone(t, "slow") // which nobody waits ten minutes for
}

func testReadinessGate(t *testing.T, c *podCluster) {
	p := boxPod("gated", "sleep", "infinity")
	p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "e2e.boot.internal/open"}}
	c.Create(t, p)
	c.Await(t, "gated", "with ready containers", func(p *corev1.Pod) error {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Reason == "ReadinessGatesNotReady" {
				return nil
			}
		}
		return fmt.Errorf("the gate does not count yet")
	})
	if _, err := c.Client.CoreV1().Pods(c.Namespace).Patch(t.Context(), "gated", types.StrategicMergePatchType,
		[]byte(`{"status":{"conditions":[{"type":"e2e.boot.internal/open","status":"True"}]}}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	c.AwaitReady(t, "gated")
}
