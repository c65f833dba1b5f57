package runtime_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
	"boot.internal/kubelet/runtime/suite"
	"boot.internal/kubelet/spec"
)

// image stands for a test image that is there.
type image struct{ client cri.ImageServiceClient }

func (i image) Ensure(ctx context.Context, _ *v1.Pod, c *v1.Container) (*cri.Image, error) {
	resp, err := i.client.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: c.Image}})
	return resp.GetImage(), err
}

// scratch has one volume, "scratch".
type scratch string

func (s scratch) Setup(context.Context, *v1.Pod) (map[string]pod.Volume, error) {
	dir := filepath.Join(string(s), "scratch")
	return map[string]pod.Volume{"scratch": {Path: dir}}, os.MkdirAll(dir, 0o755)
}

func (scratch) SubPath(_ context.Context, _ *v1.Pod, sub pod.SubPath) (string, error) {
	return filepath.Join(sub.Volume.Path, sub.Path), nil
}

// options returns the options of a runtime whose files are all below dir.
func options(t *testing.T, dir string, events *suite.Events) runtime.Options {
	return runtime.Options{
		Volumes: scratch(dir),
		Node: func() spec.Node {
			return spec.Node{CPUPeriod: 100 * time.Millisecond, Name: "node", IPs: []string{"192.0.2.1"}, ClusterDomain: "cluster.local", Memory: 1 << 34}
		},
		PodsDir:          filepath.Join(dir, "pods"),
		PodLogsDir:       filepath.Join(dir, "logs"),
		ContainerLogsDir: filepath.Join(dir, "flat"),
		KillMessage:      func(k pod.KillContainer) string { return "Stopping container " + k.Name },
		Event:            events.Record,
		Log:              slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func newFake(t *testing.T) (*fake.CRI, runtime.Options, *suite.World) {
	world := &suite.World{Dir: t.TempDir(), Image: "test:1", Events: &suite.Events{}}
	f := fake.New()
	o := options(t, world.Dir, world.Events)
	o.CRI, o.Images = f.Runtime(), image{f.Images()}
	world.Runtime = runtime.New(o)
	world.LoseSandbox = func(_ *testing.T, k pod.Key) { f.LoseSandbox(k.Namespace, k.Name) }
	return f, o, world
}

func TestSuiteOnFake(t *testing.T) {
	for _, c := range suite.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, _, world := newFake(t)
				c.Run(t, world)
			})
		})
	}
}
