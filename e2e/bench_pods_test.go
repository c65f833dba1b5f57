package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

const manifestDir = "/etc/kubernetes/manifests/"

// A yard is a running control plane on which pods come and go.
type yard struct {
	n      *lab.Node
	client kubernetes.Interface
	engine cri.RuntimeServiceClient
}

func newYard(b *testing.B) *yard {
	b.Helper()
	n := cluster(b)
	waitReady(b, n)
	y := &yard{n: n, client: n.Client(b, adminConf), engine: engineClient(b, n)}
	// The first pod waits for its image; what comes after does not.
	y.place(b, "warm")
	y.show(b, "warm")
	y.awaitReady(b, y.watch(b), "warm")
	y.take(b, "warm")
	y.awaitGone(b, "warm")
	return y
}

// place writes the manifest of a pod where boot does not look yet.
func (y *yard) place(b *testing.B, name string) {
	b.Helper()
	y.n.WriteFile(b, "/etc/kubernetes/"+name+".yaml", fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: kube-system, labels: {bench: pod}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: %q, args: [sleep, infinity]}]
`, name, testImage))
}

// show moves the manifest, complete as it is, to where boot finds it.
func (y *yard) show(b *testing.B, name string) {
	b.Helper()
	y.n.Rename(b, "/etc/kubernetes/"+name+".yaml", manifestDir+name+".yaml")
}

func (y *yard) take(b *testing.B, name string) {
	b.Helper()
	y.n.Remove(b, manifestDir+name+".yaml")
}

// watch returns a stream of what the API knows of these pods.
func (y *yard) watch(b *testing.B) <-chan *corev1.Pod {
	b.Helper()
	w, err := y.client.CoreV1().Pods("kube-system").Watch(b.Context(), metav1.ListOptions{LabelSelector: "bench=pod"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Stop)
	pods := make(chan *corev1.Pod)
	go func() {
		defer close(pods)
		for e := range w.ResultChan() {
			p, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			select {
			case pods <- p:
			case <-b.Context().Done():
				return
			}
		}
	}()
	return pods
}

// awaitReady waits until the mirror pods of all the names are Ready.
func (y *yard) awaitReady(b *testing.B, pods <-chan *corev1.Pod, names ...string) {
	b.Helper()
	overdue := time.After(2 * patience)
	missing := map[string]bool{}
	for _, name := range names {
		missing[name+"-"+y.n.Name] = true
	}
	for len(missing) > 0 {
		select {
		case p := <-pods:
			if p == nil {
				b.Fatal("the watch has ended")
			}
			if slices.ContainsFunc(p.Status.Conditions, isReady) {
				delete(missing, p.Name)
			}
		case <-overdue:
			b.Fatalf("not Ready: %v", missing)
		}
	}
}

func isReady(c corev1.PodCondition) bool {
	return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
}

// awaitStarted waits until a container of the pod, started once more than
// before, runs, and returns since when.
func (y *yard) awaitStarted(b *testing.B, name string, attempt uint32) (at time.Time) {
	b.Helper()
	poll(b, "see "+name+" run", func(ctx context.Context) error {
		list, err := y.engine.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
			LabelSelector: map[string]string{"io.kubernetes.pod.name": name + "-" + y.n.Name},
			State:         &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
		}})
		if err != nil {
			return err
		}
		for _, c := range list.Containers {
			if c.Metadata.Attempt != attempt {
				continue
			}
			status, err := y.engine.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: c.Id})
			if err != nil {
				return err
			}
			at = time.Unix(0, status.Status.StartedAt)
			return nil
		}
		return errors.New("no such container runs")
	})
	return at
}

// awaitGone waits until there is no sandbox of the pods.
func (y *yard) awaitGone(b *testing.B, names ...string) {
	b.Helper()
	for _, name := range names {
		poll(b, "see "+name+" gone", func(ctx context.Context) error {
			list, err := y.engine.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
				LabelSelector: map[string]string{"io.kubernetes.pod.name": name + "-" + y.n.Name},
			}})
			if err == nil && len(list.Items) > 0 {
				err = fmt.Errorf("it is %s", list.Items[0].State)
			}
			return err
		})
	}
}

// benchPods takes single pods through their lives, one with boot and one with
// bare CRI calls in turn.
func (y *yard) benchPods(b *testing.B, results *table) {
	b.Helper()
	pods := y.watch(b)
	for round := range podRounds {
		name := fmt.Sprintf("one-%d", round)
		bare, err := benchBare(b, newBare(y.engine, name))
		if err != nil {
			b.Fatal(err)
		}
		run, mirrored := y.benchRun(b, pods, name)
		again, gone := y.benchCrash(b, name), y.benchRemove(b, name)
		results.row("manifest → container running", seconds, "≤ 1.15").took(run, bare.run)
		results.row("container running → mirror Ready", seconds, "≤ 100 ms").took(mirrored, 0)
		results.row("container killed → running again; bare: create + start", seconds, "≤ 1.15").took(again, bare.again)
		results.row("container killed → running again; bare: kill, see it exited, create + start", seconds, "").took(again, bare.killed+bare.again)
		results.row("manifest removed → sandbox gone", seconds, "≤ 1.2").took(gone, bare.gone)
	}
}

// benchRun measures from the manifest to the running container, and from there
// to the mirror pod.
func (y *yard) benchRun(b *testing.B, pods <-chan *corev1.Pod, name string) (run, mirrored time.Duration) {
	b.Helper()
	y.place(b, name)
	begin := time.Now()
	y.show(b, name)
	y.awaitReady(b, pods, name)
	shown := time.Now()
	ran := y.awaitStarted(b, name, 0)
	return ran.Sub(begin), shown.Sub(ran)
}

func (y *yard) benchCrash(b *testing.B, name string) time.Duration {
	b.Helper()
	pid := containers(b, y.n)["kube-system/"+name+"-"+y.n.Name+"/c"].PID
	for _, p := range y.n.Processes(b) {
		if p.PID == pid {
			begin := time.Now()
			y.n.Kill(b, p, syscall.SIGKILL)
			return y.awaitStarted(b, name, 1).Sub(begin)
		}
	}
	b.Fatalf("%s does not run", name)
	return 0
}

func (y *yard) benchRemove(b *testing.B, name string) time.Duration {
	b.Helper()
	begin := time.Now()
	y.take(b, name)
	y.awaitGone(b, name)
	return time.Since(begin)
}
