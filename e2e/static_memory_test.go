package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"boot.internal/e2e/internal/lab"
)

// memoryDropIn has containers get memory of NUMA nodes for themselves. What is reserved
// is what standaloneConfig has eviction keep free.
const memoryDropIn = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
memoryManagerPolicy: Static
reservedMemory: [{numaNode: 0, limits: {memory: 100Mi}}]
`

// TestStandaloneMemory runs a pod with memory for itself. It is not parallel: a machine
// with other huge pages than when the loop ran last would be another, and other tests
// set some aside.
func TestStandaloneMemory(t *testing.T) {
	s := newStandalone(t)
	s.kill(t)
	s.node.WriteFile(t, dropIns+"/20-memory.conf", memoryDropIn)
	s.start(t)
	s.hasGiven(t, "")
	p := hostPod("memory", guaranteed("64Mi", box("c", "sleep", "infinity")), guaranteed("32Mi", box("d", "sleep", "infinity")))
	p.Spec.InitContainers = []corev1.Container{guaranteed("48Mi", box("i", "exit", "0"))}
	p = s.run(t, p)
	const want = "c memory 67108864 [0], d memory 33554432 [0]"
	s.hasGiven(t, want)
	if is := s.exec(t, p, "c", "cat", "/proc/self/status"); !strings.Contains(is, "\nMems_allowed_list:\t0\n") {
		t.Errorf("the container is\n%s", is)
	}
	s.tellsOfMemory(t, p)
	s.kill(t)
	s.start(t)
	s.barrier(t)
	s.hasGiven(t, want)
	s.tellsOfMemory(t, p)
	s.node.Remove(t, manifestPath("memory"))
	s.gone(t, "memory")
	lab.Until(t, patience, "see the memory given back", func(context.Context) error {
		if is := s.given(t); is != "" {
			return fmt.Errorf("there is %s", is)
		}
		return nil
	})
}

// guaranteed returns a container that is sure of so much memory, and of some CPU.
func guaranteed(memory string, c corev1.Container) corev1.Container {
	all := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(memory), corev1.ResourceCPU: resource.MustParse("10m")}
	c.Resources = corev1.ResourceRequirements{Limits: all, Requests: all}
	return c
}

// given returns what the loop has written down that containers have.
func (s *standalone) given(t *testing.T) string {
	t.Helper()
	var state struct {
		PolicyName string
		Entries    map[string]map[string][]struct {
			NUMAAffinity []int
			Type         string
			Size         int64
		}
	}
	text := s.node.Run(t, "cat", "/var/lib/kubelet/memory_manager_state")
	if err := json.Unmarshal([]byte(text), &state); err != nil || state.PolicyName != "Static" {
		t.Fatalf("%v: %s", err, text)
	}
	var all []string
	for _, pod := range state.Entries {
		for _, name := range []string{"c", "d", "i"} {
			for _, block := range pod[name] {
				all = append(all, fmt.Sprint(name, " ", block.Type, " ", block.Size, " ", block.NUMAAffinity))
			}
		}
	}
	return strings.Join(all, ", ")
}

func (s *standalone) hasGiven(t *testing.T, want string) {
	t.Helper()
	if is := s.given(t); is != want {
		t.Errorf("given is %q, want %q", is, want)
	}
}

// tellsOfMemory asks the node, as agents do, what the first container of a pod has.
func (s *standalone) tellsOfMemory(t *testing.T, p *corev1.Pod) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///kubelet", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return s.node.Dial(ctx, "unix", "/var/lib/kubelet/pod-resources/kubelet.sock")
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	agent := podresources.NewPodResourcesListerClient(conn)
	resp, err := agent.Get(t.Context(), &podresources.GetPodResourcesRequest{PodName: p.Name, PodNamespace: p.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	if has := resp.PodResources.Containers[0].Memory; len(has) != 1 || has[0].MemoryType != "memory" || has[0].Size != 64<<20 || len(has[0].Topology.Nodes) != 1 {
		t.Errorf("the node tells of %v", has)
	}
	all, err := agent.GetAllocatableResources(t.Context(), &podresources.AllocatableResourcesRequest{})
	if err != nil || len(all.Memory) == 0 {
		t.Errorf("the node tells of %v, %v", all, err)
	}
}
