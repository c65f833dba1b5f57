package suite

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/pod"
)

func resizeCases() []Case {
	return []Case{
		{"KEP-1287 a container grows and shrinks while it runs", resizes},
		{"KEP-1287 no memory limit below what is used", tooSmall},
	}
}

// sized is a container with CPU and memory, as requests and as limits.
func sized(c v1.Container, cpu, memory string) v1.Container {
	list := v1.ResourceList{v1.ResourceCPU: resource.MustParse(cpu), v1.ResourceMemory: resource.MustParse(memory)}
	c.Resources = v1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
	return c
}

// give changes what the first container of the pod is allocated.
func (b *bench) give(cpu, memory string) {
	p := b.pod.DeepCopy()
	p.Spec.Containers[0] = sized(p.Spec.Containers[0], cpu, memory)
	b.pod = p
}

func resizes(t *testing.T, w *World) {
	b := newBench(t, w, sized(polite("a"), "100m", "64Mi"))
	first := b.start("a")
	for _, to := range []struct{ cpu, memory string }{{"200m", "128Mi"}, {"50m", "32Mi"}} {
		b.give(to.cpu, to.memory)
		b.do(pod.Resize{Containers: []pod.Instance{{Name: "a", ID: first.ID}}})
		now := b.container("a")
		if now.ID != first.ID || now.State != pod.Running {
			t.Fatalf("it is another container or does not run: %+v", now)
		}
		got, want := now.Resources, b.pod.Spec.Containers[0].Resources
		if got == nil || got.Limits.Cpu().Cmp(*want.Limits.Cpu()) != 0 || got.Requests.Cpu().Cmp(*want.Requests.Cpu()) != 0 ||
			got.Limits.Memory().Cmp(*want.Limits.Memory()) != 0 {
			t.Errorf("resources %v, want %v", got, want)
		}
	}
}

func tooSmall(t *testing.T, w *World) {
	b := newBench(t, w, sized(running("a", "fill-memory", "40"), "100m", "128Mi"))
	c := b.startPolite("a") // its line says that it holds the memory
	b.give("100m", "32Mi")
	err := w.Runtime.Do(b.Context(), b.pod, pod.Resize{Containers: []pod.Instance{{Name: "a", ID: c.ID}}})
	if err == nil {
		t.Fatal("the limit was set")
	}
	for _, words := range []string{"cannot decrease memory limits: [", "attempting to set pod memory limit (33554432) below current usage (", `attempting to set container "a" memory limit (33554432) below`} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want it to say %q", err, words)
		}
	}
	if now := b.container("a"); now.Resources == nil || now.Resources.Limits.Memory().Value() != 128<<20 {
		t.Errorf("the limit is %v, want it as it was", now.Resources)
	}
}
