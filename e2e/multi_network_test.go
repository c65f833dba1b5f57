package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// A mesh is a pod on each of some nodes, all of them behind the Service web.
type mesh struct {
	*podCluster
	pods []string
}

// newMesh makes the pods. A control plane is where kubectl runs.
func newMesh(t *testing.T, f *fleet, at *lab.Node, nodes ...*lab.Node) *mesh {
	t.Helper()
	m := &mesh{podCluster: newPodCluster(t, at, f.client)}
	m.serve(t, "web", "")
	for _, n := range nodes {
		m.add(t, n)
	}
	return m
}

// add makes the pod of a node.
func (m *mesh) add(t *testing.T, n *lab.Node) {
	t.Helper()
	m.pods = append(m.pods, m.Create(t, m.pod(n)).Name)
}

func (m *mesh) pod(n *lab.Node) *corev1.Pod {
	p := boxPod("on-"+n.Name, "http", ":8080")
	p.Labels = map[string]string{"app": "web"}
	p.Spec.NodeName = n.Name
	return p
}

// check has each pod reach each by its address, and all of them by the name of
// the Service.
func (m *mesh) check(t *testing.T) {
	t.Helper()
	ips := map[string]string{}
	for _, name := range m.pods {
		ips[name] = m.AwaitReady(t, name).Status.PodIP
	}
	m.awaitEndpoints(t, "web", len(m.pods))
	awaitCoreDNS(t, m.Client)
	for _, from := range m.pods {
		for _, to := range m.pods {
			url := "http://" + net.JoinHostPort(ips[to], "8080") + "/hostname"
			if got := strings.TrimSpace(m.ExecUntil(t, from, "get", url)); got != to {
				t.Errorf("%s asked %s and got %q", from, to, got)
			}
		}
		m.hearAll(t, from)
	}
}

// hearAll has a pod ask the Service until another has answered: the address that
// its name stands for leads to other nodes, too.
func (m *mesh) hearAll(t *testing.T, from string) {
	t.Helper()
	lab.Until(t, patience, "hear of others through the Service on "+from, func(context.Context) error {
		got := strings.TrimSpace(m.ExecUntil(t, from, "get", "http://web."+m.Namespace+".svc.cluster.local/hostname"))
		if got == from && len(m.pods) > 1 {
			return errors.New("only it has answered")
		}
		return nil
	})
}

// container returns the ID of the container of a node's pod, once the API answers:
// those that it was asked through before may just have gone.
func (m *mesh) container(t *testing.T, n *lab.Node) string {
	t.Helper()
	p := m.Await(t, "on-"+n.Name, "have a container", func(p *corev1.Pod) error {
		if len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].ContainerID == "" {
			return errors.New("it has none")
		}
		return nil
	})
	return p.Status.ContainerStatuses[0].ContainerID
}

// awaitAnew waits until the pod of a node runs in another container.
func (m *mesh) awaitAnew(t *testing.T, n *lab.Node, before string) {
	t.Helper()
	m.Await(t, "on-"+n.Name, "run in another container", func(p *corev1.Pod) error { return runsAnew(p, before) })
}

// awaitReplaced does so on a machine that is another by now. The cluster collects pods
// for which there has been no Node for 40 seconds: then it is made once more.
func (m *mesh) awaitReplaced(t *testing.T, n *lab.Node, before string) {
	t.Helper()
	lab.Until(t, 2*patience, "see the pod on "+n.Name+" run in another container", func(ctx context.Context) error {
		pods := m.Client.CoreV1().Pods(m.Namespace)
		p, err := pods.Get(ctx, "on-"+n.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			t.Logf("the pod on %s was collected", n.Name)
			p, err = pods.Create(ctx, m.pod(n), metav1.CreateOptions{})
		}
		if err != nil {
			return err
		}
		return runsAnew(p, before)
	})
}

func runsAnew(p *corev1.Pod, before string) error {
	if err := podReady(p); err != nil {
		return err
	}
	if id := p.Status.ContainerStatuses[0].ContainerID; id == before {
		return fmt.Errorf("container %s is the old one", id)
	}
	return nil
}
