package e2e

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/e2e/internal/lab"
)

// staticPods is where a control plane keeps its manifests.
const staticPods = "/etc/kubernetes/manifests"

// A controlPlane is a node on which static pods have mirrors.
type controlPlane struct {
	node   *lab.Node
	client kubernetes.Interface
	cri    cri.RuntimeServiceClient
}

func newControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	n := cluster(t)
	waitReady(t, n)
	return &controlPlane{node: n, client: n.Client(t, adminConf), cri: engineClient(t, n)}
}

// pods are those of namespace default, where the tests have theirs.
func (c *controlPlane) pods() typedv1.PodInterface {
	return c.client.CoreV1().Pods(metav1.NamespaceDefault)
}

func (c *controlPlane) fullName(name string) string { return name + "-" + c.node.Name }

func (c *controlPlane) file(name string) string { return filepath.Join(staticPods, name+".yaml") }

// put writes the manifest of a pod to the file of its name, and removes it after
// the test.
func (c *controlPlane) put(t testing.TB, p *corev1.Pod) {
	t.Helper()
	c.node.WriteFile(t, c.file(p.Name), text(t, p))
	t.Cleanup(func() { c.node.Remove(t, c.file(p.Name)) })
}

// until waits for the mirror of a pod to be as it should, and returns it.
func (c *controlPlane) until(t testing.TB, name, what string, check func(p *corev1.Pod) error) (p *corev1.Pod) {
	t.Helper()
	lab.Until(t, patience, "see the mirror of "+name+" "+what, func(ctx context.Context) (err error) {
		if p, err = c.pods().Get(ctx, c.fullName(name), metav1.GetOptions{}); err != nil {
			return err
		}
		if err = check(p); err != nil {
			err = fmt.Errorf("%w: %s", err, brief(p))
		}
		return err
	})
	return p
}

// run puts a pod and waits until its mirror is Ready.
func (c *controlPlane) run(t testing.TB, p *corev1.Pod) *corev1.Pod {
	t.Helper()
	c.put(t, p)
	return c.until(t, p.Name, "ready", podReady)
}

// running waits until a container of a pod runs, whatever the API server knows,
// and returns it.
func (c *controlPlane) running(t testing.TB, namespace, name, container string) (found lab.Container) {
	t.Helper()
	lab.Until(t, patience, "see "+name+" run", func(ctx context.Context) error {
		all, err := lab.Containers(ctx, c.cri)
		if err != nil {
			return err
		}
		var ok bool
		if found, ok = all[namespace+"/"+c.fullName(name)+"/"+container]; !ok {
			return errors.New("it does not")
		}
		return nil
	})
	return found
}

// mirrors returns all mirror pods of the node.
func (c *controlPlane) mirrors(ctx context.Context) ([]corev1.Pod, string, error) {
	list, err := c.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return p.Annotations[corev1.MirrorPodAnnotationKey] == ""
	}), list.ResourceVersion, nil
}

// kubectl runs kubectl as the cluster's administrator.
func (c *controlPlane) kubectl(ctx context.Context, t testing.TB, args ...string) (said string, err error) {
	t.Helper()
	out, err := c.node.Try(ctx, append([]string{lab.Component(t, "bin/kubectl")}, args...)...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("exit code %d: %s", out.Code, out.Stderr)
	}
	return out.Stdout, err
}

// loopOf returns the process of a node's loop, not that of its supervisor.
func loopOf(t testing.TB, n *lab.Node) (lab.Process, error) {
	t.Helper()
	return only(slices.DeleteFunc(n.Find(t, filepath.Base(lab.BootBinary(t)), " kubelet "), func(p lab.Process) bool {
		return slices.Contains(p.Args, "--supervise")
	}))
}

// awaitLoop returns the process of a node's loop.
func awaitLoop(t testing.TB, n *lab.Node) lab.Process {
	t.Helper()
	return await(t, "the loop", func() (lab.Process, error) { return loopOf(t, n) })
}

// sendAway ends the loop of a node and keeps it from being started again until
// comeBack.
func sendAway(t testing.TB, n *lab.Node) (comeBack func()) {
	t.Helper()
	supervisor := await(t, "the supervisor", func() (lab.Process, error) {
		return only(n.Find(t, filepath.Base(lab.BootBinary(t)), "--supervise"))
	})
	loop := awaitLoop(t, n)
	n.Halt(t, supervisor)
	n.End(t, loop)
	return func() { n.Kill(t, supervisor, syscall.SIGCONT) }
}

// await waits for a process.
func await(t testing.TB, what string, find func() (lab.Process, error)) (p lab.Process) {
	t.Helper()
	lab.Until(t, patience, "find "+what, func(context.Context) (err error) {
		p, err = find()
		return err
	})
	return p
}

// only returns the one process that was found. For a moment there may be two: who
// starts a program is twice the same until one of them is that program.
func only(found []lab.Process) (lab.Process, error) {
	if len(found) != 1 {
		return lab.Process{}, fmt.Errorf("found %d: %v", len(found), found)
	}
	return found[0], nil
}

// nft runs a command of nft on the node.
func (c *controlPlane) nft(t testing.TB, command string) {
	t.Helper()
	c.node.Run(t, append([]string{"nft"}, strings.Fields(command)...)...)
}
