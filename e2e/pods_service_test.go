package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"boot.internal/e2e/internal/lab"
)

// serviceTests are about pods that find each other.
func serviceTests() []podTest {
	return []podTest{
		{"a Deployment behind a Service", testDeployment},
	}
}

// testDeployment deploys, scales, resolves by name, and reaches what it resolved.
func testDeployment(t *testing.T, c *podCluster) {
	c.deploy(t, "web", 2)
	c.serve(t, "web", "")
	c.serve(t, "each", corev1.ClusterIPNone)
	c.awaitEndpoints(t, "web", 2)
	c.Create(t, boxPod("client", "sleep", "infinity"))
	c.AwaitReady(t, "client")
	awaitCoreDNS(t, c.Client)

	clusterIP := c.service(t, "web").Spec.ClusterIP
	for _, name := range []string{"web", "web." + c.Namespace, "web." + c.Namespace + ".svc.cluster.local"} {
		if got := c.ExecUntil(t, "client", "resolve", name); strings.TrimSpace(got) != clusterIP {
			t.Errorf("%s resolves to %s, not %s", name, got, clusterIP)
		}
	}
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: c.Namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: 3}}
	if _, err := c.Client.AppsV1().Deployments(c.Namespace).UpdateScale(t.Context(), "web", scale, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.awaitEndpoints(t, "web", 3)
	c.reachAll(t, 3)
	lab.Until(t, patience, "see all behind a headless service", func(context.Context) error {
		if got := strings.Fields(c.ExecUntil(t, "client", "resolve", "each")); len(got) != 3 {
			return fmt.Errorf("it resolves to %v", got)
		}
		return nil
	})
	// One that asks for itself may get itself.
	one := c.list(t, "app=web")[0].Name
	for range 10 {
		c.ExecUntil(t, one, "get", "http://web/hostname")
	}
}

// reachAll asks until every pod behind the service has answered. Who does is left to
// chance, and asking takes its time.
func (c *podCluster) reachAll(t *testing.T, n int) {
	t.Helper()
	answered := map[string]bool{}
	lab.Until(t, 4*patience, "hear of all pods", func(context.Context) error {
		answered[strings.TrimSpace(c.ExecUntil(t, "client", "get", "http://web/hostname"))] = true
		if len(answered) < n {
			return fmt.Errorf("%v", answered)
		}
		return nil
	})
	for _, p := range c.list(t, "app=web") {
		if !answered[p.Name] {
			t.Errorf("%s did not answer: %v", p.Name, answered)
		}
	}
}

func (c *podCluster) list(t *testing.T, selector string) []corev1.Pod {
	t.Helper()
	list, err := c.Client.CoreV1().Pods(c.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("%d pods: %v", len(list.Items), err)
	}
	return list.Items
}

func (c *podCluster) deploy(t *testing.T, name string, replicas int32) {
	t.Helper()
	labels := map[string]string{"app": name}
	template := boxPod(name, "http", ":8080")
	template.Labels = labels
	template.Spec.Containers[0].ReadinessProbe = &corev1.Probe{
		PeriodSeconds: 1,
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
	}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: template.Spec},
		},
	}
	if _, err := c.Client.AppsV1().Deployments(c.Namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// serve puts a Service before the pods of the Deployment web.
func (c *podCluster) serve(t *testing.T, name, clusterIP string) {
	t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: clusterIP, Selector: map[string]string{"app": "web"},
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	if _, err := c.Client.CoreV1().Services(c.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (c *podCluster) service(t *testing.T, name string) *corev1.Service {
	t.Helper()
	s, err := c.Client.CoreV1().Services(c.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// awaitEndpoints waits until a Service has that many pods behind it.
func (c *podCluster) awaitEndpoints(t *testing.T, service string, n int) {
	t.Helper()
	lab.Until(t, patience, "see the endpoints of "+service, func(ctx context.Context) error {
		slices, err := c.Client.DiscoveryV1().EndpointSlices(c.Namespace).List(ctx, metav1.ListOptions{
			LabelSelector: "kubernetes.io/service-name=" + service,
		})
		if err != nil {
			return err
		}
		ready := 0
		for _, s := range slices.Items {
			for _, e := range s.Endpoints {
				if e.Conditions.Ready != nil && *e.Conditions.Ready {
					ready += len(e.Addresses)
				}
			}
		}
		if ready != n {
			return fmt.Errorf("%d are ready", ready)
		}
		return nil
	})
}

// ExecUntil runs testbox in a container until that goes well: names and rules of
// the network follow what they tell of by a moment.
func (c *podCluster) ExecUntil(t *testing.T, name string, args ...string) (out string) {
	t.Helper()
	command := slices.Concat([]string{
		lab.Component(t, "bin/kubectl"), "--kubeconfig", adminConf, "-n", c.Namespace, "exec", name, "--", "/testbox",
	}, args)
	lab.Until(t, patience, "run "+strings.Join(args, " "), func(ctx context.Context) error {
		got, err := c.Try(ctx, command...)
		out = got.Stdout
		if err == nil && got.Code != 0 {
			err = fmt.Errorf("exit code %d: %s", got.Code, got.Stderr)
		}
		return err
	})
	return out
}

// awaitCoreDNS waits until the cluster's names can be resolved.
func awaitCoreDNS(t testing.TB, client kubernetes.Interface) {
	t.Helper()
	lab.Until(t, 2*patience, "see CoreDNS available", func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if s := d.Status; s.Replicas == 0 || s.AvailableReplicas != s.Replicas || s.ObservedGeneration != d.Generation {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}
