package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"boot.internal/e2e/internal/lab"
)

// TestAway has things happen to pods while the loop is away, or the API server.
func TestAway(t *testing.T) {
	n := cluster(t)
	client := n.Client(t, adminConf)
	openNode(t, client, n)
	c := newPodCluster(t, n, client)
	t.Run("while the loop is away", c.loopAway)
	t.Run("volumes while the loop is away", c.volumesAway)
	t.Run("claims while the loop is away", c.claimsAway)
	t.Run("while the API server is away", c.apiAway)
	t.Run("the Node is tainted", c.nodeTainted)
	t.Run("the Node is deleted", c.nodeDeleted)
}

// nodeTainted has somebody taint the Node: pods that do not bear it go, now or once
// they have borne it for long enough, with the condition that says why; static pods
// and those that bear it stay.
func (c *podCluster) nodeTainted(t *testing.T) {
	bearing := func(name string, seconds *int64) *corev1.Pod {
		p := boxPod(name, "http", "8080")
		p.Spec.Tolerations = []corev1.Toleration{{Key: "sick", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: seconds}}
		return p
	}
	c.Create(t, boxPod("leaves", "http", "8080"))
	c.Create(t, bearing("hesitates", new(int64(2))))
	c.Create(t, bearing("bears", nil))
	c.AwaitReady(t, "leaves")
	c.AwaitReady(t, "hesitates")
	before := ids(c.AwaitReady(t, "bears"))
	patch := func(taints string) {
		t.Helper()
		if _, err := c.Client.CoreV1().Nodes().Patch(t.Context(), c.Name, types.MergePatchType,
			[]byte(`{"spec":{"taints":`+taints+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch(`[{"key":"sick","effect":"NoExecute"}]`)
	for _, name := range []string{"leaves", "hesitates"} { // once the controller manager leads, which may have lost that while the API was away
		c.AwaitGone(t, name)
	}
	c.AwaitEvent(t, "leaves", "TaintManagerEviction")
	waitReady(t, c.Node)
	patch("null")
	if after := ids(c.AwaitReady(t, "bears")); after["bears"] != before["bears"] {
		t.Errorf("the container was %s and is %s", before["bears"], after["bears"])
	}
	c.Delete(t, "bears", nil)
	c.AwaitGone(t, "bears")
}

func (c *podCluster) loopAway(t *testing.T) {
	once := boxPod("once", "exit", "0")
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, once)
	for _, name := range []string{"stays", "graceful", "forced", "replaced"} {
		c.Create(t, boxPod(name, "http", "8080"))
	}
	c.AwaitPhase(t, "once", corev1.PodSucceeded)
	before := c.AwaitReady(t, "stays")
	forced := c.AwaitReady(t, "forced")
	replaced := c.AwaitReady(t, "replaced")
	c.AwaitReady(t, "graceful")

	comeBack := sendAway(t, c.Node)
	c.Delete(t, "graceful", nil)
	c.Delete(t, "forced", new(int64(0)))
	c.Delete(t, "replaced", new(int64(0)))
	c.Create(t, boxPod("replaced", "http", "8080"))
	c.Create(t, boxPod("late", "http", "8080"))
	comeBack()

	c.AwaitGone(t, "graceful")
	c.AwaitReady(t, "late")
	c.AwaitReady(t, "replaced")
	lab.Until(t, patience, "see what nothing wants ended", func(context.Context) error {
		for _, p := range []*corev1.Pod{forced, replaced} {
			if c.Exists(t, filepath.Join("/var/lib/kubelet/pods", string(p.UID))) {
				return fmt.Errorf("SP-46: there is something of pod %s", p.Name)
			}
		}
		return nil
	})
	after := c.AwaitReady(t, "stays")
	if b, a := ids(before), ids(after); b["stays"] != a["stays"] {
		t.Errorf("the container was %s and is %s", b["stays"], a["stays"])
	}
	if p := c.Get(t, "once"); p.Status.Phase != corev1.PodSucceeded || statusOf(p, "once").RestartCount > 0 {
		t.Errorf("a pod that had ended is %s", brief(p))
	}
	for _, name := range []string{"once", "late", "replaced"} {
		c.Delete(t, name, nil)
		c.AwaitGone(t, name)
	}
}

// apiAway cuts the API server off: pods go on, are restarted, and once it is back
// it hears of that within seconds.
func (c *podCluster) apiAway(t *testing.T) {
	c.restartWithoutAPI(t, c.AwaitReady(t, "stays"))
	start := time.Now()
	c.Await(t, "stays", "restarted", restarted("stays"))
	t.Logf("told after %s", time.Since(start).Round(time.Millisecond))
	c.AwaitReady(t, "stays")
}

// restartWithoutAPI kills the container of a pod that is named like it, and has
// it run again while the API server is cut off.
func (c *podCluster) restartWithoutAPI(t *testing.T, p *corev1.Pod) {
	t.Helper()
	engine := engineClient(t, c.Node)
	c.Run(t, "nft", "add table inet hole; add chain inet hole in { type filter hook input priority 0 ; }; add rule inet hole in tcp dport 6443 drop")
	filled := false
	fill := func() {
		if !filled {
			filled = true
			c.Run(t, "nft", "delete table inet hole")
		}
	}
	t.Cleanup(fill)
	killContainer(t, c.Node, engine, containerID(t, p, p.Name))
	lab.Until(t, patience, "see it restarted", func(ctx context.Context) error {
		all, err := lab.Containers(ctx, engine)
		if got := all[c.Namespace+"/"+p.Name+"/"+p.Name]; err == nil && (got.Attempt != 1 || got.PID == 0) {
			err = fmt.Errorf("attempt %d", got.Attempt)
		}
		return err
	})
	fill()
}

// nodeDeleted has somebody delete the Node: it comes back, and runs pods as before.
func (c *podCluster) nodeDeleted(t *testing.T) {
	nodes := c.Client.CoreV1().Nodes()
	old, err := nodes.Get(t.Context(), c.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes.Delete(t.Context(), c.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	lab.Until(t, patience, "see another Node", func(ctx context.Context) error {
		now, err := nodes.Get(ctx, c.Name, metav1.GetOptions{})
		if err == nil && now.UID == old.UID {
			err = fmt.Errorf("it is the old one")
		}
		return err
	})
	openNode(t, c.Client, c.Node)
	waitReady(t, c.Node)
	c.Create(t, boxPod("afresh", "http", "8080"))
	c.AwaitReady(t, "afresh")
}
