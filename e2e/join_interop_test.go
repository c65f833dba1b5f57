package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// A worker of upstream's kubeadm and kubelet joins a control plane of boot's.
func TestUpstreamWorkerJoins(t *testing.T) {
	m := newTeam(t)
	w := m.lan.Node(t, "upstream")
	w.Import(t)
	startEngine(t, w)
	w.WriteFile(t, cniFile, strings.ReplaceAll(upstreamCNI, "10.244.0.0/24", "10.244.99.0/24"))
	startKubelet(t, w)
	t.Cleanup(func() { showKubelet(t, w) })
	w.WriteFile(t, "/etc/kubeadm.yaml", fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery:
  bootstrapToken: {token: %s, apiServerEndpoint: %q, caCertHashes: [%q]}
nodeRegistration: {criSocket: "unix://%s", name: upstream}
`, token, m.server(), m.hash, upstreamSocket))
	kubeadm(t, w, "join", "--config=/etc/kubeadm.yaml", "--ignore-preflight-errors=all")
	nodeReady(t, m, "upstream")
	runsPod(t, m.head, "upstream")
}

// A worker of boot's joins a control plane of upstream's kubeadm and kubelet.
func TestJoinUpstream(t *testing.T) {
	m := &team{lan: lab.NewLAN(t)}
	m.head = m.lan.Node(t, "head")
	m.head.Import(t)
	t.Cleanup(func() { showKubelet(t, m.head) })
	upstreamCluster(t, m.head)
	command := strings.Fields(kubeadm(t, m.head, "token", "create", "--print-join-command"))
	w := m.node(t, "worker")
	// The pods of a cluster that boot did not make are connected by others.
	w.WriteFile(t, cniFile, strings.ReplaceAll(upstreamCNI, "10.244.0.0/24", "10.244.99.0/24"))
	lab.Must(t, m.head.Signed(t.Context(), command[slices.Index(command, "--token")+1]))
	w.Boot(t, command[1:]...) // but for "kubeadm"
	nodeReady(t, m, "worker")
	runsPod(t, m.head, "worker")
	t.Run("kube-proxy is that of the DaemonSet", func(t *testing.T) {
		if w.Exists(t, "/etc/kubernetes/manifests/kube-proxy.yaml") {
			t.Error("there is a static pod, too")
		}
		client := m.head.Client(t, adminConf)
		lab.Until(t, patience, "see kube-proxy run", func(ctx context.Context) error {
			pods, err := client.CoreV1().Pods("kube-system").List(ctx, metav1.ListOptions{
				LabelSelector: "k8s-app=kube-proxy", FieldSelector: "spec.nodeName=worker",
			})
			if err != nil {
				return err
			}
			if len(pods.Items) != 1 || pods.Items[0].Status.Phase != corev1.PodRunning {
				return fmt.Errorf("%d pods: %v", len(pods.Items), pods.Items)
			}
			return nil
		})
	})
}

// runsPod has a node run a pod, and reads its log: the API server trusts the node's
// certificate, and the node the API server's.
func runsPod(t *testing.T, head *lab.Node, node string) {
	t.Helper()
	client := head.Client(t, adminConf)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "on-" + node, Namespace: "default"},
		Spec: corev1.PodSpec{
			NodeName: node, Containers: []corev1.Container{{
				Name: "main", Image: testImage, ImagePullPolicy: corev1.PullNever, Args: []string{"say", "here"},
			}},
			RestartPolicy: corev1.RestartPolicyNever,
		},
	}
	lab.Until(t, patience, "create the pod", func(ctx context.Context) error { // the service account may take a moment
		_, err := client.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // and the answer was lost
			return nil
		}
		return err
	})
	lab.Until(t, patience, "read the pod's log", func(ctx context.Context) error {
		log, err := client.CoreV1().Pods("default").GetLogs(p.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return err
		}
		if !strings.Contains(string(log), "here") {
			return fmt.Errorf("log %q", log)
		}
		return nil
	})
}

// showKubelet shows the end of the log of upstream's kubelet if the test has failed.
func showKubelet(t *testing.T, n *lab.Node) {
	t.Helper()
	const path = "/var/log/kubelet.log"
	if t.Failed() && n.Exists(t, path) {
		showLog(t, n.Name+":"+path, n.ReadFile(t, path))
	}
}
