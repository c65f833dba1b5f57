package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"boot.internal/e2e/internal/lab"
)

// TestLeave has a worker leave its cluster in good order, and come back.
func TestLeave(t *testing.T) {
	f := newFleet(t, 1, 1)
	leaver := f.lan.Node(t, "leaver") // without images: a purge takes those, too
	t.Cleanup(func() { checkLog(t, leaver) })
	before := leaver.State(t)
	admin := f.heads[0].ReadFile(t, adminConf)
	join := func() {
		leaver.Share(t)
		f.join(t, nil, []*lab.Node{leaver})
		f.awaitNodes(t, leaver)
	}
	join()
	c := newPodCluster(t, f.heads[0], f.client)
	guarded(t, c, f, leaver)

	out, err := leaver.Try(t.Context(), lab.BootBinary(t), "reset", "--force", "--drain", "--drain-timeout", "30s")
	if err != nil || out.Code == 0 || !strings.Contains(out.Stderr, "disruption budget") || !strings.Contains(out.Stderr, "kubectl uncordon leaver") {
		t.Errorf("drained against a budget: %v, exit code %d: %s", err, out.Code, out.Stderr)
	}
	if !leaver.Exists(t, "/etc/kubernetes/kubelet.conf") {
		t.Fatal("the reset went on")
	}
	lab.Must(t, c.Client.PolicyV1().PodDisruptionBudgets(c.Namespace).Delete(t.Context(), "guard", metav1.DeleteOptions{}))

	leaver.WriteFile(t, "/root/admin.conf", admin)
	args := []string{"reset", "--force", "--purge", "--drain", "--delete-node", "--kubeconfig", "/root/admin.conf"}
	for range 2 { // twice is fine
		leaver.Boot(t, args...)
	}
	leaver.Remove(t, "/root/admin.conf")
	after := slices.DeleteFunc(leaver.State(t), func(line string) bool { return strings.HasPrefix(line, leftover) })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the machine (-before +after):\n%s", diff)
	}
	if _, err := f.client.CoreV1().Nodes().Get(t.Context(), leaver.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("its Node: %v", err)
	}
	awaitOn(t, c, f.workers[0])
	join()
}

// guarded makes a Deployment of one pod, on a node, and a budget that keeps it there.
func guarded(t *testing.T, c *podCluster, f *fleet, n *lab.Node) {
	t.Helper()
	cordon := func(yes bool) {
		patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, yes)
		_, err := c.Client.CoreV1().Nodes().Patch(t.Context(), f.workers[0].Name, types.MergePatchType, patch, metav1.PatchOptions{})
		lab.Must(t, err)
	}
	labels := map[string]string{"app": "guarded"}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	p := boxPod("guarded", "http", ":8080")
	_, err := c.Client.PolicyV1().PodDisruptionBudgets(c.Namespace).Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: "guard"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: selector, MinAvailable: new(intstr.FromInt32(1))},
	}, metav1.CreateOptions{})
	lab.Must(t, err)
	cordon(true)
	_, err = c.Client.AppsV1().Deployments(c.Namespace).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "guarded"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)), Selector: selector,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec},
		},
	}, metav1.CreateOptions{})
	lab.Must(t, err)
	awaitOn(t, c, n)
	lab.Until(t, patience, "see that the budget knows the pod", func(ctx context.Context) error {
		b, err := c.Client.PolicyV1().PodDisruptionBudgets(c.Namespace).Get(ctx, "guard", metav1.GetOptions{})
		if err == nil && b.Status.CurrentHealthy != 1 {
			err = fmt.Errorf("it knows of %d", b.Status.CurrentHealthy)
		}
		return err
	})
	cordon(false)
}

// awaitOn waits until the pod of the Deployment is Ready on a node.
func awaitOn(t *testing.T, c *podCluster, n *lab.Node) {
	t.Helper()
	lab.Until(t, 2*patience, "see the pod on "+n.Name, func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=guarded"})
		if err != nil {
			return err
		}
		for _, p := range list.Items {
			if p.Spec.NodeName == n.Name && podReady(&p) == nil {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(list.Items))
	})
}
