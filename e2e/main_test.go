// Package e2e tests boot as its users run it, on real components: each test has
// a machine of its own, made of namespaces by package lab, and looks at it from
// outside, with kubectl, over CRI and in the file system.
//
// $BOOT_BIN is the boot to test. If that was built with -race, no race may be
// found in it either.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envDriver); name != "" {
		if err := driveCSI(name); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "CSI driver:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(lab.Main(m))
}

const (
	adminConf    = "/etc/kubernetes/admin.conf"
	loopLog      = "/var/log/boot/kubelet.log"
	engineSocket = "/run/boot/containerd.sock" // of boot's own engine
	testImage    = "boot.internal/testbox:1"   // see images/testbox

	// The machine may be small and busy; a test that has to wait this long has
	// found something.
	patience = 2 * time.Minute
)

// components are the static pods of a control plane.
func components() []string {
	return []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler"}
}

// machine returns a fresh node that has archives of the images of all components,
// and with it what every test wants to know of boot's log.
func machine(t testing.TB) *lab.Node {
	t.Helper()
	n := lab.New(t)
	n.Import(t)
	t.Cleanup(func() { checkLog(t, n) })
	return n
}

// furnished returns a fresh node whose engine has the images already.
func furnished(t testing.TB, lan *lab.LAN, name string) *lab.Node {
	t.Helper()
	n := lan.Node(t, name)
	n.Share(t)
	t.Cleanup(func() { checkLog(t, n) })
	return n
}

// checkLog looks at the log of the loop of a node.
func checkLog(t testing.TB, n *lab.Node) {
	t.Helper()
	if !n.Up() || !n.Exists(t, loopLog) {
		return
	}
	judgeLog(t, n.Name+":"+loopLog, n.ReadFile(t, loopLog))
}

// judgeLog finds races in a log, and shows it if the test has failed.
func judgeLog(t testing.TB, name, log string) {
	t.Helper()
	if at := strings.Index(log, "DATA RACE"); at >= 0 {
		t.Errorf("%s", log[at:min(at+8000, len(log))])
	}
	if t.Failed() {
		showLog(t, name, log)
	}
}

// showLog keeps the log of a test that failed among its artifacts (go test
// -artifacts), and shows no more than the end of it: what the test itself said
// has to stay in sight.
func showLog(t testing.TB, name, log string) {
	t.Helper()
	file := filepath.Join(t.ArtifactDir(), strings.NewReplacer("/", "_", ":", "_").Replace(name))
	if err := os.WriteFile(file, []byte(log), 0o600); err != nil {
		t.Error(err)
	}
	t.Logf("the end of %s:\n%s", name, log[max(0, len(log)-2000):])
}

// cluster returns a node on which boot init has run.
func cluster(t testing.TB) *lab.Node {
	t.Helper()
	n := furnished(t, lab.NewLAN(t), "node1")
	n.Boot(t, append([]string{"init"}, anyDisk(t, n)...)...)
	return n
}

// anyDisk returns arguments for boot init that have the node not mind how full the
// disk is: that is of the machine that the tests run on.
func anyDisk(t testing.TB, n *lab.Node) []string {
	t.Helper()
	const file = "/root/init.yaml"
	n.WriteFile(t, file, `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
`)
	return []string{"--config", file}
}

// waitReady waits until pods of kube-system are Ready: the named static pods of
// the node, or all of the control plane.
func waitReady(t testing.TB, n *lab.Node, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = components()
	}
	client := n.Client(t, adminConf)
	lab.Until(t, patience, "see static pods Ready", func(ctx context.Context) error {
		for _, name := range names {
			if err := ready(ctx, client, name+"-"+n.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

// ready returns what a pod of kube-system lacks to be Ready.
func ready(ctx context.Context, client kubernetes.Interface, name string) error {
	p, err := client.CoreV1().Pods("kube-system").Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ok := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	if !ok || p.Status.Phase != corev1.PodRunning {
		return fmt.Errorf("pod %s is %s: %+v", name, p.Status.Phase, p.Status.Conditions)
	}
	return nil
}

// containers returns the containers that boot's own engine runs, by
// namespace/pod/container.
func containers(t testing.TB, n *lab.Node) map[string]lab.Container {
	t.Helper()
	all, err := lab.Containers(t.Context(), engineClient(t, n))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// engineClient returns a client of boot's own engine.
func engineClient(t testing.TB, n *lab.Node) cri.RuntimeServiceClient {
	t.Helper()
	return n.CRI(t, engineSocket)
}
