package runtime

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/pod"
)

// A container of another agent has what the kubelet writes, or nothing.
func TestRestoredFromAnother(t *testing.T) {
	got := restored(&cri.Container{PodSandboxId: "s"}, &cri.ContainerStatus{
		Id: "c", Metadata: &cri.ContainerMetadata{Name: "a", Attempt: 2}, State: cri.ContainerState_CONTAINER_UNKNOWN,
		Image: &cri.ImageSpec{Image: "i:1"}, CreatedAt: 5,
		User: &cri.ContainerUser{Linux: &cri.LinuxContainerUser{Uid: 1, Gid: 2, SupplementalGroups: []int64{3}}},
		Annotations: map[string]string{
			pod.AnnotationPreStop: "{", pod.AnnotationGrace: "x", pod.AnnotationIndex: "x", pod.AnnotationBackoff: "x",
		},
	})
	want := pod.Container{
		ID: "c", Name: "a", SandboxID: "s", Kind: pod.Regular, State: pod.Unknown, Attempt: 2, CreatedAt: time.Unix(0, 5),
		Image: "i:1", Grace: 30 * time.Second,
		User: &v1.ContainerUser{Linux: &v1.LinuxContainerUser{UID: 1, GID: 2, SupplementalGroups: []int64{3}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAddresses(t *testing.T) {
	got := addresses(&cri.PodSandboxStatus{Network: &cri.PodSandboxNetworkStatus{
		Ip: "10.0.0.1", AdditionalIps: []*cri.PodIP{{Ip: "fd00::1"}},
	}})
	if diff := cmp.Diff([]string{"10.0.0.1", "fd00::1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestResourcesOf(t *testing.T) {
	list := func(name v1.ResourceName, q string) v1.ResourceList {
		return v1.ResourceList{name: resource.MustParse(q)}
	}
	for _, c := range []struct {
		name string
		have *cri.LinuxContainerResources
		want *v1.ResourceRequirements
	}{
		{"not told", nil, nil},
		{"no limits", &cri.LinuxContainerResources{CpuPeriod: 100000}, &v1.ResourceRequirements{}},
		{
			"shares, rounded back up", &cri.LinuxContainerResources{CpuShares: 102},
			&v1.ResourceRequirements{Requests: list(v1.ResourceCPU, "100m")},
		},
		{
			"quota", &cri.LinuxContainerResources{CpuQuota: 150000, CpuPeriod: 100000},
			&v1.ResourceRequirements{Limits: list(v1.ResourceCPU, "1500m")},
		},
		{
			"memory", &cri.LinuxContainerResources{MemoryLimitInBytes: 64 << 20},
			&v1.ResourceRequirements{Limits: list(v1.ResourceMemory, "64Mi")},
		},
	} {
		got := resourcesOf(c.have)
		equal := cmp.Comparer(func(a, b v1.ResourceList) bool {
			for name, q := range a {
				if q.Cmp(b[name]) != 0 {
					return false
				}
			}
			return len(a) == len(b)
		})
		if diff := cmp.Diff(c.want, got, equal); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}
