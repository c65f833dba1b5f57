package memory_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"

	"boot.internal/kubelet/memory"
	"boot.internal/kubelet/pod"
)

const mi = 1 << 20

// needs returns what asks for memory and may use some; "" is neither.
func needs(request, limit string) v1.ResourceRequirements {
	list := func(q string) v1.ResourceList {
		if q == "" {
			return nil
		}
		return v1.ResourceList{v1.ResourceMemory: resource.MustParse(q)}
	}
	return v1.ResourceRequirements{Requests: list(request), Limits: list(limit)}
}

func podOf(whole *v1.ResourceRequirements, containers ...v1.ResourceRequirements) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Resources: whole}}
	for _, r := range containers {
		p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "c", Resources: r})
	}
	return p
}

func TestOf(t *testing.T) {
	for name, tc := range map[string]struct {
		config kubeletv1beta1.KubeletConfiguration
		want   memory.Policy
	}{
		"nothing said": {want: memory.Policy{}},
		"none":         {config: kubeletv1beta1.KubeletConfiguration{MemoryReservationPolicy: "None"}},
		"all": {
			config: kubeletv1beta1.KubeletConfiguration{MemoryReservationPolicy: "TieredReservation", MemoryThrottlingFactor: new(0.8)},
			want:   memory.Policy{Tiered: true, Throttling: 0.8},
		},
		"closed": {
			config: kubeletv1beta1.KubeletConfiguration{FeatureGates: map[string]bool{"MemoryQoS": false}, MemoryThrottlingFactor: new(0.9)},
			want:   memory.Policy{Off: true},
		},
		"open": {config: kubeletv1beta1.KubeletConfiguration{FeatureGates: map[string]bool{"MemoryQoS": true}}},
	} {
		if diff := cmp.Diff(tc.want, memory.Of(&tc.config)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestContainer(t *testing.T) {
	const allocatable = 1000 * mi
	tiered, slow := memory.Policy{Tiered: true}, memory.Policy{Throttling: 0.9}
	whole := needs("", "200Mi")
	for name, tc := range map[string]struct {
		policy memory.Policy
		pod    *v1.Pod
		class  v1.PodQOSClass
		want   map[string]string
	}{
		"by default nothing is kept": {
			memory.Policy{},
			podOf(nil, needs("10Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"nothing is said behind the gate": {
			memory.Policy{Off: true, Tiered: true, Throttling: 0.9},
			podOf(nil, needs("10Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.high": "max"},
		},
		"guaranteed": {
			tiered, podOf(nil, needs("10Mi", "10Mi")), v1.PodQOSGuaranteed,
			map[string]string{"memory.min": "10485760", "memory.high": "max"},
		},
		"burstable": {
			tiered, podOf(nil, needs("10Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.low": "10485760", "memory.high": "max"},
		},
		"what asks for nothing": {
			tiered, podOf(nil, needs("", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"a part of the way, in whole pages": { // 10485760 + 0.9 * 10485760 is 19922944
			slow, podOf(nil, needs("10Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "19922944"},
		},
		"to what all pods may use": { // 0.9 * 1048576000 is 943718400
			slow, podOf(nil, needs("", "")), v1.PodQOSBestEffort,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "943718400"},
		},
		"a request without a limit": { // 104857600 + 0.9 * 943718400 is 954204160
			slow, podOf(nil, needs("100Mi", "")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "954204160"},
		},
		"who may use what it asks for is never slow": {
			slow, podOf(nil, needs("20Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"less than a page is no way": {
			slow, podOf(nil, needs("20Mi", "20972000")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"more than there is": {
			slow, podOf(nil, needs("2000Mi", "")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"the pod is slowed down": {
			slow, podOf(&whole, needs("10Mi", "")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"},
		},
		"the pod and a container": {
			slow, podOf(&whole, needs("10Mi", "20Mi")), v1.PodQOSBurstable,
			map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "19922944"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := pod.Find(tc.pod, "c")
			if diff := cmp.Diff(tc.want, tc.policy.Container(tc.pod, d, tc.class, allocatable)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPod(t *testing.T) {
	all := memory.Policy{Tiered: true, Throttling: 0.9}
	whole, equal := needs("10Mi", "20Mi"), needs("20Mi", "20Mi")
	for name, tc := range map[string]struct {
		policy memory.Policy
		pod    *v1.Pod
		class  v1.PodQOSClass
		limit  int64
		want   memory.Kept
	}{
		"by default nothing": {memory.Policy{}, podOf(&whole, needs("", "")), v1.PodQOSBurstable, 20 * mi, memory.Kept{}},
		"behind the gate":    {memory.Policy{Off: true, Tiered: true, Throttling: 1}, podOf(&whole), v1.PodQOSBurstable, 20 * mi, memory.Kept{}},
		"sum of containers": {
			all, podOf(nil, needs("10Mi", "10Mi"), needs("20Mi", "20Mi")), v1.PodQOSGuaranteed, 30 * mi,
			memory.Kept{Min: "31457280", High: "max"},
		},
		"containers are slowed down": {
			all, podOf(nil, needs("10Mi", "20Mi")), v1.PodQOSBurstable, 20 * mi,
			memory.Kept{Low: "10485760", High: "max"},
		},
		"the pod is slowed down": {
			all, podOf(&whole, needs("", "")), v1.PodQOSBurstable, 20 * mi,
			memory.Kept{Low: "10485760", High: "19922944"},
		},
		"a pod that may use what it asks for": {
			all, podOf(&equal, needs("", "")), v1.PodQOSGuaranteed, 20 * mi,
			memory.Kept{Min: "20971520", High: "max"},
		},
		"a pod without a limit": {
			all, podOf(new(needs("10Mi", "")), needs("", "")), v1.PodQOSBurstable, 0,
			memory.Kept{Low: "10485760", High: "max"},
		},
		"a pod that asks for nothing": {all, podOf(nil, needs("", "")), v1.PodQOSBurstable, 0, memory.Kept{High: "max"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.policy.Pod(tc.pod, tc.class, tc.limit)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of what a group keeps the kernel heeds as much as the one above it keeps.
func TestAll(t *testing.T) {
	all, burstable := memory.Policy{Tiered: true}.All(3, 4)
	if diff := cmp.Diff([]memory.Kept{{Min: "7", Low: "4"}, {Low: "4"}}, []memory.Kept{all, burstable}); diff != "" {
		t.Error(diff)
	}
	for _, none := range []memory.Policy{{}, {Off: true, Tiered: true}} {
		all, burstable = none.All(3, 4)
		if diff := cmp.Diff([]memory.Kept{{Min: "0", Low: "0"}, {Low: "0"}}, []memory.Kept{all, burstable}); diff != "" {
			t.Errorf("%+v: %s", none, diff)
		}
	}
}

func TestReserved(t *testing.T) {
	for reserved, want := range map[int64]memory.Kept{0: {}, 5: {Min: "5"}} {
		if got := (memory.Policy{}).Reserved(reserved); got != want {
			t.Errorf("%d: %+v", reserved, got)
		}
	}
	if got := (memory.Policy{Off: true}).Reserved(5); got != (memory.Kept{}) {
		t.Errorf("behind the gate %+v", got)
	}
}
