package runtime

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	v1 "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// A lasting engine has a container with a preStop hook that ends with it alone.
type lasting struct {
	cri.RuntimeServiceClient
	running  atomic.Int32 // hooks
	stopping int32        // hooks that ran when the container was told to stop
	since    time.Time
}

func (l *lasting) ContainerStatus(context.Context, *cri.ContainerStatusRequest, ...grpc.CallOption) (*cri.ContainerStatusResponse, error) {
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{
		Id: "a", Metadata: &cri.ContainerMetadata{Name: "a"}, State: cri.ContainerState_CONTAINER_RUNNING,
		Annotations: map[string]string{pod.AnnotationPreStop: `{"exec":{"command":["for ever"]}}`},
	}}, nil
}

func (l *lasting) ExecSync(ctx context.Context, _ *cri.ExecSyncRequest, _ ...grpc.CallOption) (*cri.ExecSyncResponse, error) {
	l.running.Add(1)
	defer l.running.Add(-1)
	<-ctx.Done()
	return nil, ctx.Err()
}

func (l *lasting) StopContainer(context.Context, *cri.StopContainerRequest, ...grpc.CallOption) (*cri.StopContainerResponse, error) {
	synctest.Wait() // what ends by now has ended
	l.stopping, l.since = l.running.Load(), time.Now()
	return &cri.StopContainerResponse{}, nil
}

// A hook whose time is up goes on for as long as its container does.
func TestHookEndsWithItsContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, told := &lasting{}, ""
		r := New(Options{
			CRI: l, Log: slog.New(slog.DiscardHandler), KillMessage: func(pod.KillContainer) string { return "" },
			Event: func(_ *v1.Pod, _, _, reason, message string) { told = reason + ": " + message },
		})
		start := time.Now()
		if err := r.killContainer(t.Context(), &v1.Pod{}, pod.KillContainer{Name: "a", ID: "a", Grace: 30 * time.Second, Hook: true}); err != nil {
			t.Fatal(err)
		}
		if l.stopping != 1 || l.since.Sub(start) != 30*time.Second {
			t.Errorf("%d hooks ran when the container was stopped after %s", l.stopping, l.since.Sub(start))
		}
		if want := "FailedPreStopHook: PreStopHook failed: it has not ended within the grace period"; told != want {
			t.Errorf("told is %q, want %q", told, want)
		}
		if synctest.Wait(); l.running.Load() != 0 {
			t.Error("the hook is still waited for")
		}
	})
}
