package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// Workers that join all at once all succeed, and one that is lost is replaced by
// another of its name.
func TestJoinMany(t *testing.T) {
	m := newTeam(t)
	const many = 10
	var workers []*lab.Node
	for i := range many {
		workers = append(workers, m.node(t, fmt.Sprint("worker", i)))
	}
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() {
			out, err := w.Try(t.Context(), append([]string{lab.BootBinary(t)}, m.join()...)...)
			if err != nil || out.Code != 0 {
				t.Errorf("%s: %v, exit code %d: %s", w.Name, err, out.Code, out.Stderr)
			}
		})
	}
	group.Wait()
	for _, w := range workers {
		nodeReady(t, m, w.Name)
	}
}

// What a JoinConfiguration says of the node is so.
func TestJoinFromFile(t *testing.T) {
	m := newTeam(t)
	w := m.node(t, "host1")
	w.WriteFile(t, "/root/cluster.conf", m.head.ReadFile(t, adminConf))
	const conf = "/root/anonymous.conf"
	w.Run(t, "sh", "-c", "grep -v -e client-certificate-data -e client-key-data /root/cluster.conf > "+conf+" && rm /root/cluster.conf")
	w.WriteFile(t, "/root/join.yaml", fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  file: {kubeConfigPath: %s}
  tlsBootstrapToken: %s
nodeRegistration:
  name: worker
  taints: [{key: example.org/gpu, value: "yes", effect: NoSchedule}]
  kubeletExtraArgs: [{name: node-labels, value: example.org/rack=r1}]
`, conf, token))
	w.Boot(t, "join", "--config", "/root/join.yaml")
	nodeReady(t, m, "worker", corev1.Taint{Key: "example.org/gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule})
	client := m.head.Client(t, adminConf)
	node, err := client.CoreV1().Nodes().Get(t.Context(), "worker", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := node.Labels["example.org/rack"]; got != "r1" {
		t.Errorf("label example.org/rack is %q", got)
	}

	t.Run("a lost worker is replaced under its name", func(t *testing.T) {
		if err := w.PowerOff(); err != nil {
			t.Fatal(err)
		}
		lab.Until(t, 2*patience, "see the node NotReady", func(ctx context.Context) error {
			n, err := client.CoreV1().Nodes().Get(ctx, "worker", metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range n.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
					return fmt.Errorf("it is Ready")
				}
			}
			return nil
		})
		another := m.node(t, "host2")
		another.Boot(t, m.join("--node-name", "worker")...)
		lab.Until(t, patience, "see the node at its new address", func(ctx context.Context) error {
			n, err := client.CoreV1().Nodes().Get(ctx, "worker", metav1.GetOptions{})
			if err != nil {
				return err
			}
			var addresses []string
			ready := false
			for _, a := range n.Status.Addresses {
				addresses = append(addresses, a.Address)
			}
			for _, c := range n.Status.Conditions {
				ready = ready || c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
			}
			if !ready || !strings.Contains(fmt.Sprint(addresses), another.IP.String()) {
				return fmt.Errorf("Ready is %t, addresses are %v", ready, addresses)
			}
			return nil
		})
	})
}
