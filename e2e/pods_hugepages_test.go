package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"boot.internal/e2e/internal/lab"
)

// hugePages is how many pages of 2 MiB the machine has set aside.
const hugePages = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"

// setAsideHugePages has the machine set some pages aside until the test ends.
func setAsideHugePages(t *testing.T, n int) {
	t.Helper()
	before, err := os.ReadFile(hugePages)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no huge pages of 2 MiB")
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(hugePages, before, 0o644); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(hugePages, []byte(strconv.Itoa(n)), 0o644); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(hugePages); err != nil {
		t.Fatal(err)
	} else if strings.TrimSpace(string(now)) != strconv.Itoa(n) {
		t.Skipf("the machine has not got %d huge pages to give, but %s", n, now)
	}
}

// usesHugePages runs a pod on huge pages, which the node offers from its next start
// on, and another that asks for more than there are.
func (c *podCluster) usesHugePages(t *testing.T) {
	setAsideHugePages(t, 8)
	c.reconfigure(t, nil)
	const name = corev1.ResourceName("hugepages-2Mi")
	lab.Until(t, 2*patience, "see huge pages on the Node", func(ctx context.Context) error {
		node, err := c.Client.CoreV1().Nodes().Get(ctx, c.Name, metav1.GetOptions{})
		if got := node.Status.Allocatable[name]; err == nil && got.String() != "16Mi" {
			err = fmt.Errorf("it offers %s", got.String())
		}
		return err
	})
	pod := func(name, amount string) *corev1.Pod {
		p := sleeper(name)
		p.Spec.NodeName = c.Name
		some := corev1.ResourceList{
			"hugepages-2Mi": resource.MustParse(amount), corev1.ResourceMemory: resource.MustParse("32Mi"), corev1.ResourceCPU: resource.MustParse("10m"),
		}
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: some, Limits: some}
		c.mount(p, "huge", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumHugePages}})
		return p
	}
	c.Create(t, pod("huge", "4Mi"))
	p := c.AwaitReady(t, "huge")
	want := "/var/lib/kubelet/pods/" + string(p.UID) + "/volumes/kubernetes.io~empty-dir/huge"
	if mounts := c.mustRunIn(t, "huge", "cat", "/proc/self/mounts"); !strings.Contains(mounts, " /huge hugetlbfs ") || !strings.Contains(mounts, "pagesize=2M") {
		t.Errorf("no huge pages at /huge: %s", mounts)
	}
	if mounts := c.Run(t, "cat", "/proc/self/mountinfo"); !strings.Contains(mounts, want) {
		t.Errorf("nothing is mounted at %s", want)
	}
	c.Create(t, pod("greedy", "14Mi"))
	if greedy := c.AwaitPhase(t, "greedy", corev1.PodFailed); greedy.Status.Reason != "OutOfhugepages-2Mi" {
		t.Errorf("a pod that asks for too many: %s: %s", greedy.Status.Reason, greedy.Status.Message)
	}
	for _, name := range []string{"huge", "greedy"} {
		c.Delete(t, name, nil)
		c.AwaitGone(t, name)
	}
	if mounts := c.Run(t, "cat", "/proc/self/mountinfo"); strings.Contains(mounts, want) {
		t.Errorf("%s is mounted still", want)
	}
}
