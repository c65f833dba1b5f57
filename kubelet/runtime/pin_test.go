package runtime_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/runtime"
)

// A mover has containers that run, and notes which CPUs they are moved to.
type mover struct {
	cri.RuntimeServiceClient
	ids   []string // each of a pod and a container that are called as it
	stuck string   // cannot be moved
	moved []string
}

func (m *mover) ListContainers(context.Context, *cri.ListContainersRequest, ...grpc.CallOption) (*cri.ListContainersResponse, error) {
	out := &cri.ListContainersResponse{}
	for _, id := range m.ids {
		c := &cri.Container{Id: id, Metadata: &cri.ContainerMetadata{Name: id}}
		if id != "other's" {
			c.Labels = map[string]string{pod.LabelPodName: id, pod.LabelPodNamespace: "default", pod.LabelPodUID: id}
		}
		out.Containers = append(out.Containers, c)
	}
	return out, nil
}

func (m *mover) UpdateContainerResources(_ context.Context, r *cri.UpdateContainerResourcesRequest, _ ...grpc.CallOption) (*cri.UpdateContainerResourcesResponse, error) {
	if r.ContainerId == m.stuck {
		return nil, errors.New("it is stuck")
	}
	m.moved = append(m.moved, r.ContainerId+"="+r.Linux.CpusetCpus)
	return &cri.UpdateContainerResourcesResponse{}, nil
}

func TestPin(t *testing.T) {
	m := &mover{}
	r := runtime.New(runtime.Options{CRI: m})
	shared := "0-3"
	of := func(uid types.UID, container string) (string, bool) {
		if uid == "alone" && container == "alone" {
			return "2", true
		}
		return shared, false
	}
	var pinned map[string]string
	for _, step := range []struct {
		shared, running, stuck string
		moved                  string
		failed                 bool
	}{
		{"0-3", "a b", "", "a=0-3 b=0-3", false},
		{"0-3", "a b", "", "", false},
		{"0-1,3", "a alone other's", "a", "alone=2", true},
		{"0-1,3", "a alone b", "", "a=0-1,3 b=0-1,3", false},
		{"0-3", "alone", "", "", false},
	} {
		shared, m.ids, m.stuck, m.moved = step.shared, strings.Fields(step.running), step.stuck, nil
		now, err := r.Pin(t.Context(), of, pinned)
		if (err != nil) != step.failed {
			t.Errorf("%+v: %v", step, err)
		}
		if diff := cmp.Diff(step.moved, strings.Join(m.moved, " ")); diff != "" {
			t.Error(diff)
		}
		pinned = now
	}
	if diff := cmp.Diff(map[string]string{"alone": "2"}, pinned); diff != "" {
		t.Error(diff)
	}
}
