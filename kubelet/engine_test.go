package kubelet

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/device"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/resize"
	"boot.internal/kubelet/runtime"
	"boot.internal/kubelet/runtime/fake"
	"boot.internal/kubelet/spec"
)

// A gate on a fake runtime.
func newGate(t *testing.T, o Options) (gate, *fake.CRI) {
	t.Helper()
	dir, engine := t.TempDir(), fake.New()
	r := runtime.New(runtime.Options{
		CRI: engine.Runtime(), Images: anyImage{}, Node: func() spec.Node { return spec.Node{Name: "n1"} },
		PodsDir: dir + "/pods", PodLogsDir: dir + "/logs",
		Event: func(*v1.Pod, string, string, string, string) {}, Log: slog.New(slog.DiscardHandler),
	})
	log := slog.New(slog.DiscardHandler)
	return gate{r, &kubelet{
		o: o, runtime: r, metrics: newMetrics(), ledger: resize.Open(dir, nil, log),
		devices: device.New(device.Options{Dir: dir, Changed: func() {}, Log: log}),
	}}, engine
}

func TestOnlyHostNetworkPodsStartWithoutNetwork(t *testing.T) { // SP-36
	synctest.Test(t, func(t *testing.T) {
		g, engine := newGate(t, Options{})
		g.k.engine.Store(&engineState{})
		host, own := static("host", "1"), static("own", "2")
		own.Spec.HostNetwork = false
		if err := g.Do(t.Context(), host, pod.CreateSandbox{}); err != nil {
			t.Errorf("on the host network: %v", err)
		}
		var refused *pod.ActionError
		if err := g.Do(t.Context(), own, pod.CreateSandbox{}); !errors.As(err, &refused) || refused.Reason != "NetworkNotReady" {
			t.Errorf("with a network of its own: %v", err)
		}
		g.k.engine.Store(&engineState{Status: runtime.Status{NetworkReady: true}})
		if err := g.Do(t.Context(), own, pod.CreateSandbox{}); err != nil {
			t.Errorf("with the network up: %v", err)
		}
		if n := engine.Count("RunPodSandbox"); n != 2 {
			t.Errorf("%d sandboxes", n)
		}
	})
}

func TestSandboxWaitsForItsImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		imported := make(chan struct{})
		g, engine := newGate(t, Options{SandboxImage: "pause:1", Importing: func(ctx context.Context, image string) error {
			if image != "pause:1" {
				t.Errorf("waited for %s", image)
			}
			select {
			case <-imported:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		done := make(chan error, 1)
		go func() { done <- g.Do(t.Context(), static("a", "1"), pod.CreateSandbox{}) }()
		synctest.Wait()
		if n := engine.Count("RunPodSandbox"); n != 0 {
			t.Errorf("%d sandboxes before the image", n)
		}
		close(imported)
		if err := <-done; err != nil || engine.Count("RunPodSandbox") != 1 {
			t.Errorf("after the image: %v, %d sandboxes", err, engine.Count("RunPodSandbox"))
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		imported = make(chan struct{})
		if err := g.Do(ctx, static("b", "2"), pod.CreateSandbox{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}
