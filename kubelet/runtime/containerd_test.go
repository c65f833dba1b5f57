package runtime_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/suite"
	"boot.internal/nstest"
)

const testImage = "boot.internal/testbox:1"

func TestSuiteOnContainerd(t *testing.T) {
	if !nstest.Enter(t) {
		return
	}
	d, world := newContainerd(t)
	for _, c := range suite.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			c.Run(t, world)
		})
	}
	t.Run("what a container finds", func(t *testing.T) { testInside(t, world) })
	t.Run("containerd restarts", func(t *testing.T) { testRestart(t, d, world) })
}

// newContainerd returns a world on a containerd of its own, with the pause and
// the test image.
func newContainerd(t *testing.T) (*daemon, *suite.World) {
	t.Helper()
	d := startContainerd(t)
	conn, err := runtime.Dial(d.socket, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	world := &suite.World{Dir: t.TempDir(), Image: testImage, Events: &suite.Events{}}
	o := options(t, world.Dir, world.Events)
	o.CRI, o.Images, o.Cgroups = conn.Runtime, image{conn.Images}, cgroups{}
	world.Runtime = runtime.New(o)
	world.LoseSandbox = func(t *testing.T, k pod.Key) { killPause(t, conn.Runtime, k) }
	return d, world
}

// cgroups puts all pods into the cgroup of the test's node.
type cgroups struct{}

func (cgroups) Raise(*v1.Pod) error  { return nil }
func (cgroups) Update(*v1.Pod) error { return nil }

func (cgroups) Create(p *v1.Pod) (string, error) {
	return "/" + nstest.Cgroup() + "/" + string(p.UID), nil
}

// killPause kills the process that holds a pod's sandbox.
func killPause(t *testing.T, client cri.RuntimeServiceClient, k pod.Key) {
	t.Helper()
	list, err := client.ListPodSandbox(t.Context(), &cri.ListPodSandboxRequest{Filter: &cri.PodSandboxFilter{
		LabelSelector: map[string]string{pod.LabelPodName: k.Name, pod.LabelPodNamespace: k.Namespace},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		resp, err := client.PodSandboxStatus(t.Context(), &cri.PodSandboxStatusRequest{PodSandboxId: s.Id, Verbose: true})
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Pid int `json:"pid"`
		}
		if err := json.Unmarshal([]byte(resp.Info["info"]), &info); err != nil || info.Pid == 0 {
			t.Fatalf("no process in %v: %v", resp.Info, err)
		}
		if err := syscall.Kill(info.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}

// A daemon is a containerd that runs.
type daemon struct {
	bin, dir, socket string
	log              *os.File
	cmd              *exec.Cmd
}

// startContainerd starts the built containerd with a configuration of its own
// and gives it its images. Its containers end with the test's PID namespace.
func startContainerd(t *testing.T) *daemon {
	t.Helper()
	components := filepath.Dir(nstest.Engine(t))
	d := &daemon{
		bin: filepath.Join(components, "engine/bin"), dir: "/var/lib/containerd-test", socket: "/run/containerd-test.sock",
	}
	write(t, filepath.Join(d.dir, "config.toml"), nstest.Containerd{
		Bin: d.bin, Socket: d.socket, Root: filepath.Join(d.dir, "root"), State: "/run/containerd-test", CNI: filepath.Join(d.dir, "net.d"),
	}.Config(t))
	write(t, filepath.Join(d.dir, "net.d/10-test.conflist"), nstest.CNINetwork)
	var err error
	if d.log, err = os.Create(filepath.Join(d.dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of containerd: %s", tail(t, d.log.Name()))
		}
		d.stop(t)
		if err := d.log.Close(); err != nil {
			t.Error(err)
		}
	})
	d.importImages(t, filepath.Join(components, "images/pause.tar"), filepath.Join(components, "images/testbox.tar"))
	return d
}

func (d *daemon) start(t *testing.T) {
	t.Helper()
	d.cmd = exec.Command(filepath.Join(d.bin, "containerd"), "--config", filepath.Join(d.dir, "config.toml"))
	d.cmd.Env = append(os.Environ(), "PATH="+d.bin+":"+os.Getenv("PATH"))
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = d.cmd.Wait() // it says "signal: terminated"
}

func tail(t *testing.T, path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return data[max(0, len(data)-10000):]
}

// importImages waits until containerd answers, which ctr does not.
func (d *daemon) importImages(t *testing.T, archives ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, archive := range archives {
		for {
			cmd := exec.CommandContext(ctx, filepath.Join(d.bin, "ctr"), "-a", d.socket, "-n", "k8s.io", "images", "import", archive)
			out, err := cmd.CombinedOutput()
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("import %s: %v: %s", archive, err, out)
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
