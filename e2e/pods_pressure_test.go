package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"boot.internal/e2e/internal/lab"
)

// pressureTests are about what pods may use of the node, and what it tells.
func pressureTests() []podTest {
	return []podTest{
		{"an emptyDir beyond its limit", testSizeLimit},
		{"a container beyond its limit of storage", testStorageLimit},
		{"the node lists its images", testNodeImages},
	}
}

func testSizeLimit(t *testing.T, c *podCluster) {
	p := boxPod("hoarder", "trap-term", "1ms", "1") // what ends well has not failed, evicted or not
	mount(p, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(1<<20, resource.BinarySI)}})
	c.Create(t, p)
	p = c.AwaitReady(t, "hoarder")
	file := filepath.Join("/var/lib/kubelet/pods", string(p.UID), "volumes/kubernetes.io~empty-dir/data/much")
	c.WriteFile(t, file, strings.Repeat("much", 1<<19))
	c.awaitEvicted(t, "hoarder", `^Usage of EmptyDir volume "data" exceeds the limit "1Mi". $`)
}

func testStorageLimit(t *testing.T, c *podCluster) {
	limit := func(q string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceEphemeralStorage: resource.MustParse(q)}}
	}
	p := boxPod("talker", "log", "2000000", "every", "100us")
	p.Spec.Containers[0].Resources = limit("256Ki")
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{
		Name: "modest", Image: testImage, Args: []string{"trap-term", "1ms", "1"}, Resources: limit("1Gi"),
	})
	c.Create(t, p)
	c.awaitEvicted(t, "talker", `^Container talker exceeded its local ephemeral storage limit "256Ki". $`)
}

// awaitEvicted waits until a pod is evicted, with a message that matches.
func (c *podCluster) awaitEvicted(t *testing.T, name, message string) *corev1.Pod {
	t.Helper()
	// What is on disk is measured once a minute, and a busy machine takes its time.
	var p *corev1.Pod
	lab.Until(t, 5*patience, "see pod "+name+" Failed", func(ctx context.Context) (err error) {
		p, err = c.Client.CoreV1().Pods(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil && p.Status.Phase != corev1.PodFailed {
			err = fmt.Errorf("it is %s", p.Status.Phase)
		}
		return err
	})
	if p.Status.Reason != "Evicted" || !regexp.MustCompile(message).MatchString(p.Status.Message) {
		t.Errorf("%s: %s", p.Status.Reason, p.Status.Message)
	}
	if got := c.AwaitEvent(t, name, "Evicted"); got != p.Status.Message {
		t.Errorf("event %q, status %q", got, p.Status.Message)
	}
	return p
}

func testNodeImages(t *testing.T, c *podCluster) {
	lab.Until(t, patience, "see the test's image on the Node", func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, i := range node.Status.Images {
			if i.SizeBytes > 0 && slices.Contains(i.Names, testImage) {
				return nil
			}
		}
		return fmt.Errorf("there are %v", node.Status.Images)
	})
}

// TestEviction has a node run short: of CPU for a pod that wants more, of huge pages, of
// what lies together, of memory, softly and for good, then, as it were, of disk, and then
// the machine goes down.
func TestEviction(t *testing.T) {
	n := cluster(t)
	client := n.Client(t, adminConf)
	openNode(t, client, n)
	c := newPodCluster(t, n, client)
	t.Run("a resize waits for room", c.resizeWaits)
	t.Run("huge pages", c.usesHugePages)
	t.Run("devices that lie together", c.liesTogether)
	t.Run("memory, softly", c.memoryRunsLow)
	t.Run("memory", c.memoryRunsOut)
	t.Run("disk", c.diskRunsOut)
	t.Run("machine", c.machineGoesDown)
}

// kubeletConfig is where the loop of a control plane reads its configuration.
const kubeletConfig = "/var/lib/kubelet/config.yaml"

// reconfigure starts the loop again with other settings.
func (c *podCluster) reconfigure(t *testing.T, set map[string]any) {
	t.Helper()
	comeBack := sendAway(t, c.Node)
	first, others, _ := strings.Cut(c.ReadFile(t, kubeletConfig), "\n---\n")
	var config map[string]any
	if err := yaml.Unmarshal([]byte(first), &config); err != nil {
		t.Fatal(err)
	}
	maps.Copy(config, set)
	data, err := yaml.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	c.WriteFile(t, kubeletConfig, string(data)+"---\n"+others)
	comeBack()
}

// endsBadly has the containers of a pod end with SIGKILL when they are to stop: what
// ends well has not failed, evicted or not.
func endsBadly(p *corev1.Pod) *corev1.Pod {
	p.Spec.OS = &corev1.PodOS{Name: corev1.Linux} // as whoever names a signal has to
	for i := range p.Spec.Containers {
		p.Spec.Containers[i].Lifecycle = &corev1.Lifecycle{StopSignal: new(corev1.SIGKILL)}
	}
	return p
}

// memoryRunsLow stays below a soft threshold for longer than is borne.
func (c *podCluster) memoryRunsLow(t *testing.T) {
	keep := (c.memoryLeft(t) - 500<<20) >> 10
	c.reconfigure(t, map[string]any{
		"evictionSoft":                     map[string]string{"memory.available": fmt.Sprintf("%dKi", keep)},
		"evictionSoftGracePeriod":          map[string]string{"memory.available": "3s"},
		"evictionMaxPodGracePeriod":        2,
		"evictionPressureTransitionPeriod": "15s",
	})
	c.awaitPressure(t, corev1.NodeMemoryPressure, corev1.ConditionFalse)
	comesAndGoes := c.watchPressure(t, corev1.NodeMemoryPressure)
	greedy := endsBadly(boxPod("slow", "fill-memory", "900"))
	greedy.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, greedy)
	p := c.awaitEvicted(t, "slow", `^The node was low on resource: memory\. Threshold quantity: \d+[KM]i, available: \d+[KM]i\. `)
	if s := statusOf(p, "slow"); s.State.Terminated == nil {
		t.Errorf("its container: %+v", s.State)
	}
	comesAndGoes()
	c.awaitTaint(t, corev1.TaintNodeMemoryPressure, false)
	c.Delete(t, "slow", nil)
	c.AwaitGone(t, "slow")
	c.reconfigure(t, map[string]any{"evictionSoft": map[string]string{}, "evictionSoftGracePeriod": map[string]string{}, "evictionMaxPodGracePeriod": 0})
}

func (c *podCluster) memoryRunsOut(t *testing.T) {
	modest := boxPod("modest", "http", "8080")
	modest.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	c.Create(t, modest)
	c.AwaitReady(t, "modest")
	keep := (c.memoryLeft(t) - 500<<20) >> 10
	c.reconfigure(t, map[string]any{ // as long as this process runs, what it was short of once it stays short of
		"evictionHard": map[string]string{"memory.available": fmt.Sprintf("%dKi", keep)}, "evictionPressureTransitionPeriod": "1h",
	})
	c.awaitPressure(t, corev1.NodeMemoryPressure, corev1.ConditionFalse)

	greedy := endsBadly(boxPod("greedy", "fill-memory", "900"))
	greedy.Spec.RestartPolicy = corev1.RestartPolicyNever
	c.Create(t, greedy)
	p := c.awaitEvicted(t, "greedy", `^The node was low on resource: memory\. Threshold quantity: \d+[KM]i, available: \d+[KM]i\. `+
		`Container greedy was using \d+[KM]i, request is 0, has larger consumption of memory\. $`)
	if cond := podCondition(p, corev1.DisruptionTarget); cond == nil || cond.Status != corev1.ConditionTrue ||
		cond.Reason != corev1.PodReasonTerminationByKubelet || cond.Message != p.Status.Message {
		t.Errorf("condition %+v", cond)
	}
	c.awaitPressure(t, corev1.NodeMemoryPressure, corev1.ConditionTrue)
	c.awaitTaint(t, corev1.TaintNodeMemoryPressure, true)

	late := boxPod("late", "sleep", "infinity")
	late.Spec.NodeName = c.Name
	c.Create(t, late)
	late = c.AwaitPhase(t, "late", corev1.PodFailed)
	if late.Status.Reason != "Evicted" || !strings.Contains(late.Status.Message, "The node had condition: [MemoryPressure]. ") {
		t.Errorf("best effort under pressure: %s: %s", late.Status.Reason, late.Status.Message)
	}
	c.AwaitReady(t, "modest") // who uses less than it asked for stays, whatever is said of the node meanwhile
	c.reconfigure(t, map[string]any{"evictionPressureTransitionPeriod": "30s"})
	c.awaitPressure(t, corev1.NodeMemoryPressure, corev1.ConditionFalse)
	c.awaitTaint(t, corev1.TaintNodeMemoryPressure, false)
}

// memoryLeft returns how many bytes of the machine's memory the node does not use.
func (c *podCluster) memoryLeft(t *testing.T) int64 {
	t.Helper()
	number := func(file, line string) int64 {
		for l := range strings.Lines(c.ReadFile(t, file)) {
			fields := strings.Fields(strings.TrimPrefix(l, line))
			if n, err := strconv.ParseInt(fields[0], 10, 64); strings.HasPrefix(l, line) && err == nil {
				return n
			}
		}
		t.Fatalf("no %s in %s", line, file)
		return 0
	}
	const group = "/sys/fs/cgroup/memory/memory."
	return number("/proc/meminfo", "MemTotal:")<<10 - number(group+"usage_in_bytes", "") + number(group+"stat", "total_inactive_file ")
}

// diskRunsOut asks for more space than there is: images that nobody uses go, and
// then pods.
func (c *podCluster) diskRunsOut(t *testing.T) {
	images := c.Images(t, engineSocket)
	unused := func(ctx context.Context) (string, error) {
		list, err := images.ListImages(ctx, &cri.ListImagesRequest{})
		if err != nil {
			return "", err
		}
		for _, i := range list.Images {
			if slices.Contains(i.RepoTags, testImage) {
				return i.Id, nil
			}
		}
		return "", nil
	}
	zero := int64(0)
	for _, name := range []string{"modest", "greedy", "late"} {
		c.Delete(t, name, &zero)
		c.AwaitGone(t, name)
	}
	c.reconfigure(t, map[string]any{
		"evictionHard":      map[string]string{"imagefs.available": "99.99%"},
		"imageMinimumGCAge": "1s",
	})
	c.awaitPressure(t, corev1.NodeDiskPressure, corev1.ConditionTrue)
	c.awaitTaint(t, corev1.TaintNodeDiskPressure, true)
	lab.Until(t, patience, "see the image that nobody uses removed", func(ctx context.Context) error {
		id, err := unused(ctx)
		if err == nil && id != "" {
			err = errors.New("it is there")
		}
		return err
	})
	lab.Until(t, patience, "see the Node without it", func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, i := range node.Status.Images {
			if slices.Contains(i.Names, testImage) {
				return errors.New("it is listed")
			}
		}
		return nil
	})
	waitReady(t, c.Node) // static pods stay
}

// awaitPressure waits until a condition of the Node has a status.
func (c *podCluster) awaitPressure(t *testing.T, kind corev1.NodeConditionType, status corev1.ConditionStatus) {
	t.Helper()
	lab.Until(t, 2*patience, fmt.Sprintf("see %s %s", kind, status), func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, cond := range node.Status.Conditions {
			if cond.Type == kind && cond.Status == status {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", node.Status.Conditions)
	})
}

// watchPressure follows a condition of the Node from now on, and returns what waits
// until it has become true and then false again, however long ago.
func (c *podCluster) watchPressure(t *testing.T, kind corev1.NodeConditionType) (comesAndGoes func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*patience)
	t.Cleanup(cancel)
	w, err := c.Client.CoreV1().Nodes().Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + c.Name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return func() {
		t.Helper()
		for _, want := range []corev1.ConditionStatus{corev1.ConditionTrue, corev1.ConditionFalse} {
			for is := corev1.ConditionStatus(""); is != want; {
				e, ok := <-w.ResultChan()
				node, isNode := e.Object.(*corev1.Node)
				if !ok || !isNode {
					t.Fatalf("wait for %s %s: the watch ended: %v", kind, want, e.Object)
				}
				for _, cond := range node.Status.Conditions {
					if cond.Type == kind {
						is = cond.Status
					}
				}
			}
		}
	}
}

// awaitTaint waits until the controller manager has drawn its conclusion.
func (c *podCluster) awaitTaint(t *testing.T, key string, there bool) {
	t.Helper()
	lab.Until(t, patience, fmt.Sprintf("see taint %s: %t", key, there), func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == key }) != there {
			return fmt.Errorf("taints %v", node.Spec.Taints)
		}
		return nil
	})
}

func podCondition(p *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == kind {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}
