package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"

	"boot.internal/e2e/internal/lab"
)

// Every static pod has a mirror, whatever happens to either.
func TestMirrors(t *testing.T) {
	c := newControlPlane(t)
	c.run(t, steady())
	t.Run("mirrors", func(t *testing.T) {
		parallel(t, map[string]func(t *testing.T){
			"SP-49 SP-24 what a mirror is":       c.what,
			"SP-53 deleted":                      c.deleted,
			"SP-54 SP-55 edited":                 c.edited,
			"SP-52 SP-37 refreshed":              c.refreshed,
			"SP-56 outlives the grace":           c.outlives,
			"SP-57 logs":                         c.logs,
			"SP-30 no ephemeral, no resize":      c.refusedByAPI,
			"SP-26 priority":                     c.priority,
			"SP-28 refusals are events":          c.refusals,
			"SP-25 tolerates everything at work": c.tolerations,
		})
	})
	t.Run("SP-60 metrics", c.metrics)
	t.Run("IC-25 IC-26 loop killed", c.loopKilled)
	t.Run("SP-48 API server behind a black hole", c.blackHole)
	t.Run("SP-48 API server removed", c.apiServerRemoved)
}

func (c *controlPlane) what(t *testing.T) {
	p := hostPod("what", box("c", "sleep", "infinity"))
	p.Annotations = map[string]string{"mine": "kept"}
	m := c.run(t, p)
	node, err := c.client.CoreV1().Nodes().Get(t.Context(), c.node.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owner := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: new(true)}}
	if diff := cmp.Diff(owner, m.OwnerReferences); diff != "" {
		t.Errorf("owner (-want +got):\n%s", diff)
	}
	hash := m.Annotations["kubernetes.io/config.hash"]
	if len(hash) != 32 || m.Annotations[corev1.MirrorPodAnnotationKey] != hash {
		t.Errorf("hash %q, mirror of %q", hash, m.Annotations[corev1.MirrorPodAnnotationKey])
	}
	if m.Annotations["kubernetes.io/config.source"] != "file" || m.Annotations["mine"] != "kept" {
		t.Errorf("annotations %v", m.Annotations)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000000000Z07:00", m.Annotations["kubernetes.io/config.seen"]); err != nil {
		t.Error(err)
	}
	sandboxes := containers(t, c.node)
	if got := sandboxes["default/"+m.Name+"/c"].ID; got != containerID(t, m, "c") {
		t.Errorf("the engine runs %s and the mirror says %s", got, containerID(t, m, "c"))
	}
}

func (c *controlPlane) deleted(t *testing.T) {
	m := c.run(t, hostPod("deleted", box("c", "sleep", "infinity")))
	id := containerID(t, m, "c")
	for name, grace := range map[string]*int64{"gracefully": nil, "by force": ptr.To[int64](0)} {
		if err := c.pods().Delete(t.Context(), m.Name, metav1.DeleteOptions{GracePeriodSeconds: grace}); err != nil {
			t.Fatal(err)
		}
		next := c.until(t, "deleted", "another one", func(p *corev1.Pod) error {
			if p.UID == m.UID {
				return errors.New("it is the one that was deleted")
			}
			return podReady(p)
		})
		if got := containerID(t, next, "c"); got != id || statusOf(next, "c").RestartCount != 0 {
			t.Errorf("deleted %s, the container was %s and is %s", name, id, got)
		}
		m = next
	}
}

// What others write to a mirror's labels stays and concerns nobody; what they
// write to its status does not stay.
func (c *controlPlane) edited(t *testing.T) {
	m := c.run(t, hostPod("edited", box("c", "sleep", "infinity")))
	id := containerID(t, m, "c")
	if _, err := c.pods().Patch(t.Context(), m.Name, types.MergePatchType, []byte(`{"metadata":{"labels":{"foreign":"label"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	foreign := []byte(`{"status":{"phase":"Pending","message":"foreign"}}`)
	if _, err := c.pods().Patch(t.Context(), m.Name, types.MergePatchType, foreign, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	after := c.until(t, "edited", "running again", podReady)
	if got := containerID(t, after, "c"); after.UID != m.UID || got != id {
		t.Errorf("mirror %s with container %s, was %s with %s", after.UID, got, m.UID, id)
	}
	killContainer(t, c.node, c.cri, id)
	after = c.until(t, "edited", "restarted", restarted("c"))
	if after.UID != m.UID || after.Labels["foreign"] != "label" {
		t.Errorf("mirror %s with labels %v, want %s", after.UID, after.Labels, m.UID)
	}
	if last := statusOf(after, "c").LastTerminationState.Terminated; last == nil || last.ExitCode != 137 {
		t.Errorf("last state %+v", last)
	}
}

func (c *controlPlane) refreshed(t *testing.T) {
	p := hostPod("refreshed", lingers(box("c", "sleep", "infinity"), "2s"))
	m := c.run(t, p)
	p.Spec.Containers[0].Args = []string{"sleep", "1h"}
	c.untilDeleted(t, m, func() { c.put(t, p) })
	after := c.until(t, "refreshed", "of the new version", func(p *corev1.Pod) error {
		if p.UID == m.UID {
			return errors.New("it is the old one")
		}
		return podReady(p)
	})
	if got := after.Spec.Containers[0].Args; !slices.Equal(got, []string{"sleep", "1h"}) {
		t.Errorf("arguments %q", got)
	}
	if after.Annotations[corev1.MirrorPodAnnotationKey] == m.Annotations[corev1.MirrorPodAnnotationKey] {
		t.Error("the hash is that of the old version")
	}
}

func (c *controlPlane) outlives(t *testing.T) {
	m := c.run(t, hostPod("outlives", lingers(box("c", "sleep", "infinity"), "2s")))
	c.untilDeleted(t, m, func() { c.node.Remove(t, c.file("outlives")) })
}

// untilDeleted waits until a mirror is deleted by what end does, which is not to be
// before its container, which takes two seconds, has ended.
func (c *controlPlane) untilDeleted(t *testing.T, m *corev1.Pod, end func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w, err := c.pods().Watch(ctx, metav1.ListOptions{ResourceVersion: m.ResourceVersion, FieldSelector: "metadata.name=" + m.Name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	old := containerID(t, m, "c")
	start := time.Now()
	end()
	for e := range w.ResultChan() {
		if e.Type != watch.Deleted {
			continue
		}
		if took := time.Since(start); took < 2*time.Second {
			t.Errorf("the mirror was deleted after %s", took)
		}
		if left, ok := containers(t, c.node)["default/"+m.Name+"/c"]; ok && left.ID == old {
			t.Errorf("the mirror was deleted before %+v ended", left)
		}
		return
	}
	t.Error("the mirror was not deleted")
}

func (c *controlPlane) logs(t *testing.T) {
	m := c.run(t, hostPod("logs", box("c", "log", "1000000", "every", "100ms"), box("other", "sleep", "infinity")))
	lab.Until(t, patience, "read the log", func(ctx context.Context) error {
		got, err := c.kubectl(ctx, t, "logs", m.Name, "-c", "c", "--limit-bytes=14")
		if err == nil && got != "line 1\nline 2\n" {
			err = fmt.Errorf("log %q", got)
		}
		return err
	})
}

func (c *controlPlane) refusedByAPI(t *testing.T) {
	m := c.run(t, hostPod("fixed", box("c", "sleep", "infinity")))
	m.ResourceVersion = "" // its status is written meanwhile
	m.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: testImage, ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePolicy: corev1.TerminationMessageReadFile,
	}}}
	_, err := c.pods().UpdateEphemeralContainers(t.Context(), m.Name, m, metav1.UpdateOptions{})
	if err == nil || !strings.Contains(err.Error(), "static pods do not support ephemeral containers") {
		t.Errorf("ephemeral container: %v", err)
	}
	m.Spec.EphemeralContainers = nil
	_, err = c.pods().UpdateResize(t.Context(), m.Name, m, metav1.UpdateOptions{})
	if err == nil || !strings.Contains(err.Error(), "static pods cannot be resized") {
		t.Errorf("resize: %v", err)
	}
}

func (c *controlPlane) priority(t *testing.T) {
	for class, want := range map[string]int32{"system-node-critical": 2000001000, "system-cluster-critical": 2000000000} {
		p := hostPod("in-"+class, box("c", "sleep", "infinity"))
		p.Spec.PriorityClassName = class
		if got := c.run(t, p).Spec.Priority; ptr.Deref(got, 0) != want {
			t.Errorf("%s: priority %d, want %d", class, ptr.Deref(got, 0), want)
		}
	}
}

func (c *controlPlane) tolerations(t *testing.T) {
	m := c.run(t, hostPod("tolerant", box("c", "sleep", "infinity")))
	all := corev1.Toleration{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if !slices.Contains(m.Spec.Tolerations, all) {
		t.Errorf("tolerations %v", m.Spec.Tolerations)
	}
}

// Every refusal is an event of the node that says where and why.
func (c *controlPlane) refusals(t *testing.T) {
	const head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: refused\nspec:\n"
	for name, r := range map[string]struct{ manifest, want string }{
		"secret":  {head + "  volumes:\n  - name: s\n    secret:\n      secretName: x\n  containers:\n  - {name: c, image: i}\n", "static pods may not reference secrets"},
		"account": {head + "  serviceAccountName: x\n  containers:\n  - {name: c, image: i}\n", "static pods may not reference serviceaccounts"},
		"field":   {head + "  containers:\n  - name: c\n    imagge: i\n", "no such field"},
		"syntax":  {"apiVersion: v1\nkind: Pod\n\tmetadata: {}\n", "tab"},
		"list":    {"apiVersion: v1\nkind: PodList\nitems: []\n", "a file holds one Pod"},
	} {
		file := c.file("refused-" + name)
		c.node.WriteFile(t, file, r.manifest)
		t.Cleanup(func() { c.node.Remove(t, file) })
		lab.Until(t, patience, "see the event of "+name, func(ctx context.Context) error {
			out, err := c.kubectl(ctx, t, "get", "events", "--field-selector", "involvedObject.kind=Node,involvedObject.name="+c.node.Name, "-o", `jsonpath={range .items[*]}{.type} {.message}{"\n"}{end}`)
			if err != nil {
				return err
			}
			for line := range strings.Lines(out) {
				// The file, and after a colon the line.
				_, rest, found := strings.Cut(line, file+":")
				if found && strings.HasPrefix(line, "Warning ") && rest[0] >= '1' && rest[0] <= '9' && strings.Contains(rest, r.want) {
					return nil
				}
			}
			return fmt.Errorf("want %s:LINE: %s in\n%s", file, r.want, out)
		})
	}
}
