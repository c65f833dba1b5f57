package fake_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/runtime/fake"
)

// A node is a fake with a sandbox and two containers, "a" and "b", that run.
type node struct {
	*fake.CRI
	cri.RuntimeServiceClient
}

func newNode(t *testing.T) node {
	f := fake.New()
	n := node{f, f.Runtime()}
	n.sandbox(t)
	for _, name := range []string{"a", "b"} {
		n.container(t, name)
	}
	f.ForgetCalls()
	return n
}

func (n node) sandbox(t *testing.T) {
	t.Helper()
	_, err := n.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: sandboxConfig()})
	if err != nil {
		t.Fatal(err)
	}
}

func sandboxConfig() *cri.PodSandboxConfig {
	return &cri.PodSandboxConfig{Metadata: &cri.PodSandboxMetadata{Name: "web", Namespace: "shop", Uid: "u"}}
}

func (n node) container(t *testing.T, name string) {
	t.Helper()
	made, err := n.CreateContainer(t.Context(), &cri.CreateContainerRequest{PodSandboxId: "sandbox-1", Config: containerConfig(name)})
	if err == nil {
		_, err = n.StartContainer(t.Context(), &cri.StartContainerRequest{ContainerId: made.ContainerId})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func containerConfig(name string) *cri.ContainerConfig {
	return &cri.ContainerConfig{Metadata: &cri.ContainerMetadata{Name: name}, Image: &cri.ImageSpec{Image: "i:1"}}
}

func (n node) status(t *testing.T, id string) *cri.ContainerStatus {
	t.Helper()
	resp, err := n.ContainerStatus(t.Context(), &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Status
}

// What a real runtime refuses, the fake does too.
func TestRefuses(t *testing.T) {
	n := newNode(t)
	n.SetImages("i:1")
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"a second sandbox of the name": func() error {
			_, err := n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: sandboxConfig()})
			return err
		},
		"a sandbox without a name": func() error {
			_, err := n.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{})
			return err
		},
		"a second container of the name": func() error {
			_, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: "sandbox-1", Config: containerConfig("a")})
			return err
		},
		"a container in no sandbox": func() error {
			_, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: "no", Config: containerConfig("c")})
			return err
		},
		"a container of no image": func() error {
			config := containerConfig("c")
			config.Image.Image = "other"
			_, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: "sandbox-1", Config: config})
			return err
		},
		"a second start": func() error {
			_, err := n.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: "container-2"})
			return err
		},
		"a start of nothing": func() error {
			_, err := n.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: "no"})
			return err
		},
		"a method nobody wrote": func() error {
			_, err := n.Attach(ctx, &cri.AttachRequest{})
			return err
		},
	} {
		if err := call(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	n.LoseSandbox("shop", "web")
	if _, err := n.CreateContainer(ctx, &cri.CreateContainerRequest{PodSandboxId: "sandbox-1", Config: containerConfig("c")}); err == nil {
		t.Error("a container in a sandbox that is not ready")
	}
	if _, err := n.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: "container-2"}); err == nil {
		t.Error("a command in a container that does not run")
	}
}

func TestWorld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		if !n.OOM("a") || n.OOM("a") || n.Exit("none", 0) {
			t.Error("a container is killed for memory once, if there is one")
		}
		if s := n.status(t, "container-2"); s.ExitCode != 137 || s.Reason != "OOMKilled" {
			t.Errorf("%v", s)
		}
		n.Unknown("b")
		if s := n.status(t, "container-3"); s.State != cri.ContainerState_CONTAINER_UNKNOWN {
			t.Errorf("%v", s)
		}
		if _, err := n.StopContainer(t.Context(), &cri.StopContainerRequest{ContainerId: "container-3", Timeout: 5}); err != nil {
			t.Error(err)
		}
		if s := n.status(t, "container-3"); s.State != cri.ContainerState_CONTAINER_EXITED {
			t.Errorf("%v", s)
		}
		n.Reboot()
		list, err := n.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{})
		if err != nil || list.Items[0].State != cri.PodSandboxState_SANDBOX_NOTREADY {
			t.Errorf("%v, %v", list, err)
		}
		n.SetNetwork(false)
		config := sandboxConfig()
		config.Metadata.Attempt = 1
		if _, err := n.RunPodSandbox(t.Context(), &cri.RunPodSandboxRequest{Config: config}); err == nil {
			t.Error("a sandbox without a network")
		}
	})
}

func TestScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake.New()
		n := node{f, f.Runtime()}
		n.sandbox(t)
		n.Script("a", fake.Program{AtOnce: true, Code: 3}, fake.Program{Runs: time.Minute})
		n.container(t, "a")
		if s := n.status(t, "container-2"); s.ExitCode != 3 || s.Reason != "Error" {
			t.Errorf("first %v", s)
		}
		if _, err := n.RemoveContainer(t.Context(), &cri.RemoveContainerRequest{ContainerId: "container-2"}); err != nil {
			t.Fatal(err)
		}
		n.container(t, "a")
		if got := n.Running(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("running %q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		s := n.status(t, "container-3")
		if ran := time.Duration(s.FinishedAt - s.StartedAt).Round(time.Millisecond); s.State != cri.ContainerState_CONTAINER_EXITED || ran != time.Minute {
			t.Errorf("second %v", s)
		}
	})
}

func TestOnExec(t *testing.T) {
	n := newNode(t)
	n.OnExec(func(container string, command []string) (string, int32) { return container + " " + command[0], 4 })
	resp, err := n.ExecSync(t.Context(), &cri.ExecSyncRequest{ContainerId: "container-3", Cmd: []string{"x"}})
	if err != nil || string(resp.Stdout) != "b x" || resp.ExitCode != 4 {
		t.Errorf("%v, %v", resp, err)
	}
}

func TestCallsAndFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		broken := errors.New("broken")
		n.Fail("RemoveContainer", 1, broken)
		n.Delay("RemoveContainer", 1, time.Minute)
		remove := func(ctx context.Context) error {
			_, err := n.RemoveContainer(ctx, &cri.RemoveContainerRequest{ContainerId: "container-2"})
			return err
		}
		if err := remove(t.Context()); !errors.Is(err, broken) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := remove(ctx); status.Code(err) != codes.DeadlineExceeded {
			t.Error(err)
		}
		if err := remove(t.Context()); err != nil {
			t.Error(err)
		}
		n.sandboxes(t)
		var got []string
		for _, c := range n.Calls() {
			got = append(got, c.String())
		}
		if diff := cmp.Diff(slices.Repeat([]string{"RemoveContainer container-2"}, 3), got); diff != "" {
			t.Error(diff)
		}
		if looked := n.Count("ListPodSandbox"); looked != 1 {
			t.Errorf("looked %d times", looked)
		}
	})
}

func (n node) sandboxes(t *testing.T) {
	t.Helper()
	if _, err := n.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{}); err != nil {
		t.Fatal(err)
	}
}

// Answers are copies: what a caller does to one changes nothing on the node.
func TestAnswersAreCopies(t *testing.T) {
	n := newNode(t)
	n.status(t, "container-2").Metadata.Name = "changed"
	if got := n.status(t, "container-2").Metadata.Name; got != "a" {
		t.Errorf("name %q", got)
	}
}

func TestImages(t *testing.T) {
	f := fake.New()
	f.SetImages("a:1")
	images := f.Images()
	if _, err := images.PullImage(t.Context(), &cri.PullImageRequest{Image: &cri.ImageSpec{Image: "b:1"}}); err != nil {
		t.Fatal(err)
	}
	list, err := images.ListImages(t.Context(), &cri.ListImagesRequest{})
	if err != nil || len(list.Images) != 2 {
		t.Errorf("%v, %v", list, err)
	}
	for name, there := range map[string]bool{"a:1": true, "b:1": true, "c:1": false} {
		resp, err := images.ImageStatus(t.Context(), &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		if err != nil || (resp.Image != nil) != there {
			t.Errorf("%s: %v, %v", name, resp, err)
		}
	}
}
