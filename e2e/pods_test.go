package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"boot.internal/e2e/internal/lab"
)

// A podTest is a test of pods of the API on the cluster that all of them share.
// It has a namespace of its own, and others run beside it.
type podTest struct {
	name string
	run  func(t *testing.T, c *podCluster)
}

// podTests returns all of them, each area's from its own file.
func podTests() []podTest {
	return slices.Concat( // one a line
		lifeTests(),
		storageTests(),
		pressureTests(),
		resourcesTests(),
		objectsTests(),
		serviceTests(),
		trustTests(),
		identityTests(),
		specTests(),
		kubectlTests(),
		metricsTests(),
		agentsTests(),
		prometheusTests(),
	)
}

// TestPods runs pods of the API as users make them, on one cluster.
func TestPods(t *testing.T) {
	n := cluster(t)
	client := n.Client(t, adminConf)
	openNode(t, client, n)
	for _, test := range podTests() {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, newPodCluster(t, n, client))
		})
	}
}

// A podCluster is the shared cluster as one test sees it.
type podCluster struct {
	*lab.Node
	Client    *kubernetes.Clientset
	Namespace string
}

// newPodCluster makes a namespace for a test. Its pods go with it.
func newPodCluster(t *testing.T, n *lab.Node, client *kubernetes.Clientset) *podCluster {
	t.Helper()
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &podCluster{Node: n, Client: client, Namespace: ns.Name}
	kubectl := lab.Component(t, "bin/kubectl") // asked for now: after the test it cannot be
	t.Cleanup(func() {
		if t.Failed() {
			c.describe(t, kubectl)
		}
	})
	lab.Until(t, patience, "see what every pod is given", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		if err == nil {
			_, err = client.CoreV1().ConfigMaps(ns.Name).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		}
		return err
	})
	return c
}

// describe logs what the API knows of the pods of a test that failed.
func (c *podCluster) describe(t *testing.T, kubectl string) {
	ctx := context.WithoutCancel(t.Context())
	for _, what := range []string{"pods", "events"} {
		if out, err := c.Try(ctx, kubectl, "--kubeconfig", adminConf,
			"-n", c.Namespace, "get", what, "-o", "wide"); err == nil {
			t.Logf("%s:\n%s", what, out.Stdout)
		}
	}
}

// openNode takes the taint of the control plane off the node, and waits until pods
// can run on it.
func openNode(t testing.TB, client kubernetes.Interface, n *lab.Node) {
	t.Helper()
	lab.Until(t, patience, "see the node open and Ready", func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, n.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if open := withoutTaint(node); len(open) < len(node.Spec.Taints) {
			node.Spec.Taints = open
			if node, err = client.CoreV1().Nodes().Update(ctx, node, metav1.UpdateOptions{}); err != nil {
				return err
			}
		}
		if len(node.Spec.Taints) > 0 {
			return fmt.Errorf("node has taints %v", node.Spec.Taints)
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("node is not ready: %+v", node.Status.Conditions)
	})
}

func withoutTaint(n *corev1.Node) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(n.Spec.Taints), func(t corev1.Taint) bool {
		return t.Key == "node-role.kubernetes.io/control-plane"
	})
}

// boxPod returns a pod with one container, named like the pod, that runs testbox
// with the arguments.
func boxPod(name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: new(int64(1)),
			Containers:                    []corev1.Container{{Name: name, Image: testImage, Args: args}},
		},
	}
}

// Create makes a pod in the test's namespace.
func (c *podCluster) Create(t *testing.T, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	made, err := c.Client.CoreV1().Pods(c.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Get returns a pod of the test's namespace.
func (c *podCluster) Get(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	p, err := c.Client.CoreV1().Pods(c.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Await waits until a pod is as check wants it and returns it.
func (c *podCluster) Await(t *testing.T, name, what string, check func(*corev1.Pod) error) *corev1.Pod {
	t.Helper()
	var last *corev1.Pod
	lab.Until(t, 2*patience, "see pod "+name+" "+what, func(ctx context.Context) error {
		p, err := c.Client.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		last = p
		if err := check(p); err != nil {
			return fmt.Errorf("%w; status is %s", err, p.Status.String())
		}
		return nil
	})
	return last
}

// AwaitReady waits until a pod is Ready and returns it.
func (c *podCluster) AwaitReady(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	return c.Await(t, name, "Ready", func(p *corev1.Pod) error {
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod is not ready")
	})
}

// AwaitPhase waits until a pod is in a phase and returns it.
func (c *podCluster) AwaitPhase(t *testing.T, name string, phase corev1.PodPhase) *corev1.Pod {
	t.Helper()
	return c.Await(t, name, string(phase), func(p *corev1.Pod) error {
		if p.Status.Phase != phase {
			return fmt.Errorf("phase is %s", p.Status.Phase)
		}
		return nil
	})
}

// AwaitGone waits until the API knows the pod no longer.
func (c *podCluster) AwaitGone(t *testing.T, name string) {
	t.Helper()
	lab.Until(t, 2*patience, "see pod "+name+" gone", func(ctx context.Context) error {
		p, err := c.Client.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("it is there: %s", p.Status.String())
	})
}

// Delete asks for the end of a pod.
func (c *podCluster) Delete(t *testing.T, name string, grace *int64) {
	t.Helper()
	err := c.Client.CoreV1().Pods(c.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: grace})
	if err != nil {
		t.Fatal(err)
	}
}

// Logs returns what a container has written, as the API server hands it out.
func (c *podCluster) Logs(t *testing.T, name, container string) string {
	t.Helper()
	data, err := c.Client.CoreV1().Pods(c.Namespace).GetLogs(name, &corev1.PodLogOptions{Container: container}).DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// AwaitEvent waits until there is an event of a pod with the reason, and returns
// its message.
func (c *podCluster) AwaitEvent(t *testing.T, name, reason string) string {
	t.Helper()
	return c.awaitEvent(t, name, reason, func(string) bool { return true })
}

// AwaitMessage waits until there is an event of a pod with the reason and a message
// that matches. Others of that reason may come before: whatever a pod needs may not
// have come yet, or not be known to the API server as the pod's.
func (c *podCluster) AwaitMessage(t *testing.T, name, reason, pattern string) {
	t.Helper()
	c.awaitEvent(t, name, reason, regexp.MustCompile(pattern).MatchString)
}

// exactly returns the pattern that matches a text alone.
func exactly(text string) string { return "^" + regexp.QuoteMeta(text) + "$" }

func (c *podCluster) awaitEvent(t *testing.T, name, reason string, is func(message string) bool) (message string) {
	t.Helper()
	lab.Until(t, 2*patience, "see event "+reason+" of pod "+name, func(ctx context.Context) error {
		list, err := c.Client.CoreV1().Events(c.Namespace).List(ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.name=" + name,
		})
		if err != nil {
			return err
		}
		var others []string
		for _, e := range list.Items {
			if e.Reason == reason && is(e.Message) {
				message = e.Message
				return nil
			}
			others = append(others, e.Reason+": "+e.Message)
		}
		return fmt.Errorf("there are only %s", strings.Join(others, "\n"))
	})
	return message
}
