package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"boot.internal/e2e/internal/lab"
)

// What a privileged container mounts below a volume that spreads both ways is
// mounted on the host, and in other pods that share it, and goes with the pod.
func testPropagationOutwards(t *testing.T, c *podCluster) {
	dir := "/tmp/" + c.Namespace
	if err := c.Do(func() error { return os.MkdirAll(dir+"/in", 0o755) }); err != nil {
		t.Fatal(err)
	}
	shared := func(name string, mode corev1.MountPropagationMode) *corev1.Pod {
		p := sleeper(name)
		c.mount(p, "v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}})
		p.Spec.Containers[0].VolumeMounts[0].MountPropagation = &mode
		return p
	}
	giver := shared("giver", corev1.MountPropagationBidirectional)
	giver.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
	c.Create(t, giver)
	c.Create(t, shared("taker", corev1.MountPropagationHostToContainer))
	c.AwaitReady(t, "giver")
	c.AwaitReady(t, "taker")
	t.Cleanup(func() { // a volume of the host is not the node's to clean up
		if _, err := c.Try(context.WithoutCancel(t.Context()), "umount", "-l", dir+"/in"); err != nil {
			t.Error(err)
		}
	})
	c.mountIn(t, "giver", "/v/in")
	c.mustRunIn(t, "giver", "write", "/v/in/file", "given")
	if got := c.ReadFile(t, dir+"/in/file"); got != "given\n" {
		t.Errorf("the host reads %q", got)
	}
	if got := c.mustRunIn(t, "taker", "cat", "/v/in/file"); got != "given\n" {
		t.Errorf("the other pod reads %q", got)
	}
}

// mountIn mounts a tmpfs in a pod's only container, which is named like it.
func (c *podCluster) mountIn(t *testing.T, pod, path string) {
	t.Helper()
	engine, pid := engineClient(t, c.Node), 0
	lab.Until(t, patience, "see the container of pod "+pod, func(ctx context.Context) error { // others' come and go meanwhile
		all, err := lab.Containers(ctx, engine)
		if pid = all[c.Namespace+"/"+pod+"/"+pod].PID; err == nil && pid == 0 {
			err = errors.New("it does not run")
		}
		return err
	})
	err := c.Do(func() error {
		view, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil {
			return err
		}
		defer func() { _ = view.Close() }() // it was only read
		if err := unix.Setns(int(view.Fd()), unix.CLONE_NEWNS); err != nil {
			return fmt.Errorf("enter the container: %w", err)
		}
		return unix.Mount("tmpfs", path, "tmpfs", 0, "")
	})
	if err != nil {
		t.Fatal(err)
	}
}

func testPropagation(t *testing.T, c *podCluster) {
	dir := "/tmp/" + c.Namespace
	if err := c.Do(func() error { return os.MkdirAll(dir+"/in", 0o755) }); err != nil {
		t.Fatal(err)
	}
	p := sleeper("spread")
	c.mount(p, "v", corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}})
	p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/private"})
	p.Spec.Containers[0].VolumeMounts[0].MountPropagation = new(corev1.MountPropagationHostToContainer)
	c.Create(t, p)
	c.AwaitReady(t, "spread")
	c.Run(t, "mount", "-t", "tmpfs", "tmpfs", dir+"/in")
	t.Cleanup(func() {
		if _, err := c.Try(context.WithoutCancel(t.Context()), "umount", "-l", dir+"/in"); err != nil {
			t.Error(err)
		}
	})
	c.WriteFile(t, dir+"/in/file", "spread")
	if got := c.mustRunIn(t, "spread", "cat", "/v/in/file"); got != "spread" {
		t.Errorf("it reads %q", got)
	}
	if out, err := c.runIn(t, "spread", "cat", "/private/in/file"); err == nil {
		t.Errorf("a mount that is private sees %q", out)
	}
}
