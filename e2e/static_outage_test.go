package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"boot.internal/e2e/internal/lab"
)

func (c *controlPlane) metrics(t *testing.T) {
	c.run(t, hostPod("counted", box("c", "sleep", "infinity")))
	var want int
	lab.Until(t, patience, "see the metrics agree with the API server", func(ctx context.Context) error {
		all, _, err := c.mirrors(ctx)
		if err != nil {
			return err
		}
		want = len(all)
		said, err := c.kubectl(ctx, t, "get", "--raw", "/api/v1/nodes/"+c.node.Name+"/proxy/metrics")
		if err != nil {
			return err
		}
		got := metricsOf(said)
		for _, name := range []string{
			`kubelet_mirror_pods`, `kubelet_desired_pods{static="true"}`, `kubelet_active_pods{static="true"}`,
			`kubelet_working_pods{config="desired",lifecycle="sync",static="true"}`,
		} {
			if v, ok := got[name]; !ok || v != float64(want) {
				return fmt.Errorf("%s is %v (%t), want %d", name, v, ok, want)
			}
		}
		return nil
	})
}

// metricsOf reads metrics in the text format.
func metricsOf(text string) map[string]float64 {
	all := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			all[name] = v
		}
	}
	return all
}

// steady returns a pod that has all there is to get wrong about a restart of
// the loop.
func steady() *corev1.Pod {
	p := hostPod("steady", box("main", "http", ":18080"))
	side := sidecar(box("side", "sleep", "infinity"))
	side.StartupProbe = unhurried(quick(execute("exec-ok")))
	p.Spec.InitContainers = []corev1.Container{box("init", "exit", "0"), side}
	main := &p.Spec.Containers[0]
	main.StartupProbe, main.ReadinessProbe = unhurried(quick(httpGet(18080))), quick(httpGet(18080))
	main.ReadinessProbe.PeriodSeconds = 20
	return p
}

// loopKilled kills the loop while everybody watches the pods: none is
// restarted, and none is said to be unready.
func (c *controlPlane) loopKilled(t *testing.T) {
	lab.Until(t, patience, "see the pod old enough to be adopted", func(ctx context.Context) error {
		p, err := c.pods().Get(ctx, c.fullName("steady"), metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := podReady(p); err != nil {
			return err
		}
		running := statusOf(p, "main").State.Running
		if running == nil {
			return errNotRunning
		}
		if age := time.Since(running.StartedAt.Time); age < 12*time.Second {
			return fmt.Errorf("it is %s old", age)
		}
		return nil
	})
	waitReady(t, c.node)
	awaitCoreDNS(t, c.client) // its containers are compared, too
	lab.Until(t, patience, "see the pods of other tests gone", func(ctx context.Context) error {
		all, _, err := c.mirrors(ctx)
		if err == nil && len(all) != len(components())+1 {
			err = fmt.Errorf("there are %d", len(all))
		}
		return err
	})
	before, version, err := c.mirrors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	running := containers(t, c.node)
	unready := c.watchReady(t, version)
	old := awaitLoop(t, c.node)
	c.node.Kill(t, old, 9)
	lab.Until(t, patience, "see the loop started again", func(context.Context) error {
		now, err := loopOf(t, c.node)
		if err == nil && now.PID == old.PID {
			err = errors.New("it is the old one")
		}
		return err
	})
	// Whoever can do this has long seen to those that were there.
	later := c.run(t, hostPod("later", box("c", "sleep", "infinity")))
	killContainer(t, c.node, c.cri, containerID(t, later, "c"))
	c.until(t, "later", "restarted", restarted("c"))
	for _, line := range unready() {
		t.Error(line)
	}
	for i := range before {
		after, err := c.client.CoreV1().Pods(before[i].Namespace).Get(t.Context(), before[i].Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ids(&before[i]), ids(after)); diff != "" || before[i].UID != after.UID {
			t.Errorf("%s, mirror %s and %s (-before +after):\n%s", after.Name, before[i].UID, after.UID, diff)
		}
	}
	now := containers(t, c.node)
	for name := range now {
		if strings.Contains(name, "/later-") {
			delete(now, name)
		}
	}
	if diff := cmp.Diff(running, now); diff != "" {
		t.Errorf("containers (-before +after):\n%s", diff)
	}
}

// watchReady watches the conditions of all pods until the returned function is
// called, which returns those that were not as they are to be.
func (c *controlPlane) watchReady(t testing.TB, version string) (unready func() []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	w, err := c.client.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{ResourceVersion: version})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	var lines []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok || p.Annotations[corev1.MirrorPodAnnotationKey] == "" || strings.HasPrefix(p.Name, "later-") {
				continue
			}
			if err := podReady(p); err != nil || e.Type == watch.Deleted {
				lines = append(lines, fmt.Sprintf("%s %s: %v: %s", time.Now().Format(time.TimeOnly), e.Type, err, brief(p)))
			}
		}
	}()
	stop := func() []string { cancel(); w.Stop(); <-done; return lines }
	t.Cleanup(func() { stop() })
	return stop
}

// blackHole has the API server neither answer nor refuse: nothing on the way
// from a file to a container may wait for it.
func (c *controlPlane) blackHole(t *testing.T) {
	old := c.run(t, hostPod("in-the-dark", box("c", "sleep", "infinity")))
	c.nft(t, "add table inet hole")
	c.nft(t, "add chain inet hole in { type filter hook input priority 0 ; }")
	c.nft(t, "add rule inet hole in tcp dport 6443 drop")
	filled := false
	fill := func() {
		if !filled {
			filled = true
			c.nft(t, "delete table inet hole")
		}
	}
	t.Cleanup(fill)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := c.pods().Get(ctx, old.Name, metav1.GetOptions{}); err == nil {
		t.Fatal("the API server answers")
	}
	dark := hostPod("dark", box("c", "sleep", "infinity"))
	dark.Spec.InitContainers = []corev1.Container{box("init", "exit", "0")}
	c.put(t, dark)
	id := c.running(t, "default", "dark", "c").ID
	killContainer(t, c.node, c.cri, containerID(t, old, "c"))
	lab.Until(t, patience, "see it restarted", func(ctx context.Context) error {
		all, err := lab.Containers(ctx, c.cri)
		if got := all["default/"+old.Name+"/c"]; err == nil && got.Attempt != 1 {
			err = fmt.Errorf("attempt %d of %v", got.Attempt, got)
		}
		return err
	})
	fill()
	m := c.until(t, "dark", "there", podReady)
	if got := containerID(t, m, "c"); got != id {
		t.Errorf("container was %s and is %s", id, got)
	}
	c.until(t, "in-the-dark", "restarted", restarted("c"))
}

func (c *controlPlane) apiServerRemoved(t *testing.T) {
	const away = "/etc/kubernetes/kube-apiserver.yaml"
	file := c.file("kube-apiserver")
	before := c.running(t, "kube-system", "kube-apiserver", "kube-apiserver")
	c.node.Rename(t, file, away)
	lab.Until(t, patience, "see it gone", func(ctx context.Context) error {
		all, err := lab.Containers(ctx, c.cri)
		if _, ok := all["kube-system/"+c.fullName("kube-apiserver")+"/kube-apiserver"]; ok {
			err = errors.New("it runs")
		}
		return err
	})
	c.put(t, hostPod("meanwhile", box("c", "sleep", "infinity")))
	id := c.running(t, "default", "meanwhile", "c").ID
	c.node.Rename(t, away, file)
	if after := c.running(t, "kube-system", "kube-apiserver", "kube-apiserver"); after.ID == before.ID {
		t.Error("it never went away")
	}
	waitReady(t, c.node, "kube-apiserver")
	if got := containerID(t, c.until(t, "meanwhile", "there", podReady), "c"); got != id {
		t.Errorf("container was %s and is %s", id, got)
	}
}
