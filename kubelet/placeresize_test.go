package kubelet

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	kubeletv1beta1 "k8s.io/kubelet/config/v1beta1"
)

// Who has CPUs or memory for itself is not resized, in upstream's words.
func TestNeverResized(t *testing.T) {
	asking := func(cpu, memory string, limit bool) *v1.Pod {
		r := v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}}
		if limit {
			r.Limits = r.Requests
		}
		return &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: r}}}}
	}
	const (
		cpu    = `Resize is infeasible for Guaranteed Pods alongside CPU Manager policy "static"`
		memory = `Resize is infeasible for Guaranteed Pods alongside Memory Manager policy "Static"`
	)
	was := asking("1", "1Gi", true)
	for name, test := range map[string]struct {
		cpus, mems string
		to         *v1.Pod
		want       string
	}{
		"neither":        {"none", "None", asking("2", "2Gi", true), ""},
		"CPUs":           {"static", "None", asking("2", "2Gi", true), cpu},
		"memory":         {"none", "Static", asking("2", "2Gi", true), memory},
		"both":           {"static", "Static", asking("2", "2Gi", true), cpu},
		"as many CPUs":   {"static", "None", asking("1000m", "2Gi", true), ""},
		"as much memory": {"none", "Static", asking("2", "1024Mi", true), ""},
		"shares":         {"static", "Static", asking("2", "2Gi", false), ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := &kubelet{o: Options{Config: &kubeletv1beta1.KubeletConfiguration{CPUManagerPolicy: test.cpus, MemoryManagerPolicy: test.mems}}}
			if got := k.neverResized(test.to, was); got != test.want {
				t.Errorf("%q", got)
			}
		})
	}
}
