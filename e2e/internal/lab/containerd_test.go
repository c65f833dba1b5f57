package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/nstest"
)

const (
	socket    = "/run/containerd.sock"
	testImage = "boot.internal/testbox:1"
)

// A real engine runs pods on a node, with a network and control groups, and the
// client in the test reaches it and them.
func TestContainerd(t *testing.T) {
	n := New(t)
	client := startContainerd(t, n)
	sandbox, id := runPod(t, client)

	all, err := Containers(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := all["ns/p/c"]
	if !ok || c.ID != id {
		t.Fatalf("containers %v, want %s", all, id)
	}
	status, err := client.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + status.Status.Network.Ip + ":8080/healthz"
	Until(t, patience, "reach the pod", func(ctx context.Context) error {
		out, err := client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: id, Cmd: []string{"/testbox", "get", url}, Timeout: 5})
		if err == nil && out.ExitCode != 0 {
			err = fmt.Errorf("%s%s", out.Stdout, out.Stderr)
		}
		return err
	})
	if state := strings.Join(n.State(t), "\n"); !strings.Contains(state, "/kubepods/podx/"+id) {
		t.Errorf("no cgroup of the container in %s", state)
	}

	n.KillPID(t, c.PID, syscall.SIGKILL)
	Until(t, patience, "see the container exited", func(ctx context.Context) error {
		s, err := client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
		if err == nil && s.Status.State != cri.ContainerState_CONTAINER_EXITED {
			err = fmt.Errorf("it is %s", s.Status.State)
		}
		return err
	})
	// The rest is left to the end of the node.
}

// startContainerd starts the containerd that was built, with its images.
func startContainerd(t *testing.T, n *Node) cri.RuntimeServiceClient {
	t.Helper()
	bin := filepath.Dir(Component(t, "engine/bin/containerd"))
	n.WriteFile(t, "/etc/containerd/config.toml", nstest.Containerd{Bin: bin, Socket: socket, CNI: "/etc/cni/net.d"}.Config(t))
	n.WriteFile(t, "/etc/cni/net.d/10-test.conflist", nstest.CNINetwork)
	cmd := n.Command(context.WithoutCancel(t.Context()), filepath.Join(bin, "containerd"), "--config", "/etc/containerd/config.toml")
	cmd.Env = append(cmd.Env, "PATH="+bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	log := new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("containerd: %s", log.Bytes()[max(0, log.Len()-8000):])
		}
	})
	for _, image := range []string{"pause", "testbox"} {
		archive := Component(t, "images/"+image+".tar")
		Until(t, patience, "import "+image, func(ctx context.Context) error {
			out, err := n.Try(ctx, filepath.Join(bin, "ctr"), "-a", socket, "-n", "k8s.io", "images", "import", archive)
			if err == nil && out.Code != 0 {
				err = errors.New(out.Stderr)
			}
			return err
		})
	}
	return n.CRI(t, socket)
}

// runPod runs one pod that serves HTTP.
func runPod(t *testing.T, client cri.RuntimeServiceClient) (sandbox, container string) {
	t.Helper()
	meta := map[string]string{"io.kubernetes.pod.namespace": "ns", "io.kubernetes.pod.name": "p"}
	pod := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Namespace: "ns", Name: "p", Uid: "x"},
		Labels:   meta, LogDirectory: "/var/log/pods/p",
		Linux: &cri.LinuxPodSandboxConfig{CgroupParent: "/kubepods/podx", SecurityContext: &cri.LinuxSandboxSecurityContext{}},
	}
	s, err := client.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: pod})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: s.PodSandboxId, SandboxConfig: pod, Config: &cri.ContainerConfig{
		Metadata: &cri.ContainerMetadata{Name: "c"}, Labels: meta,
		Image: &cri.ImageSpec{Image: testImage}, Args: []string{"http", ":8080"}, LogPath: "c.log",
		Linux: &cri.LinuxContainerConfig{},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: c.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return s.PodSandboxId, c.ContainerId
}
