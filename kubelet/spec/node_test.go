package spec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"boot.internal/kubelet/memory"
	"boot.internal/kubelet/pod"
	"boot.internal/kubelet/spec"
)

const limited = `spec: {containers: [{name: a, resources: {limits: {cpu: 1, memory: 1Gi, hugepages-2Mi: 8Mi}}}]}`

// TestNode shows what differs from node to node.
func TestNode(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*spec.Node)
		want func(*cri.LinuxContainerResources)
	}{
		{
			"CPU limits are not enforced", func(n *spec.Node) { n.CPUPeriod = 0 },
			func(r *cri.LinuxContainerResources) { r.CpuPeriod, r.CpuQuota = 0, 0 },
		},
		{
			"cgroup v2", func(n *spec.Node) { n.Unified = true },
			func(r *cri.LinuxContainerResources) {
				r.Unified = map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max"}
			},
		},
		{
			"all of a container is killed at once", func(n *spec.Node) { n.Unified, n.OOMGroup = true, true },
			func(r *cri.LinuxContainerResources) {
				r.Unified = map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max", "memory.oom.group": "1"}
			},
		},
		{
			"SP-32 no swap, cgroup v1", func(n *spec.Node) { n.Swap = spec.Swap{Counted: true, Limited: true} },
			func(r *cri.LinuxContainerResources) { r.MemorySwapLimitInBytes = 1 << 30 },
		},
		{
			"no swap, cgroup v2", func(n *spec.Node) { n.Unified, n.Swap = true, spec.Swap{Counted: true} },
			func(r *cri.LinuxContainerResources) {
				r.Unified = map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "max", "memory.swap.max": "0"}
			},
		},
		{
			"who uses much memory is slowed down", func(n *spec.Node) { n.Unified, n.Keep = true, memory.Policy{Throttling: 0.5} },
			func(r *cri.LinuxContainerResources) {
				r.Unified = map[string]string{"memory.min": "0", "memory.low": "0", "memory.high": "536870912"}
			},
		},
		{
			"sizes of huge pages", func(n *spec.Node) { n.HugePageSizes = []string{"2MB", "1GB", "64KB"} },
			func(r *cri.LinuxContainerResources) {
				r.HugepageLimits = []*cri.HugepageLimit{{PageSize: "1GB"}, {PageSize: "2MB", Limit: 8 << 20}, {PageSize: "64KB"}}
			},
		},
		{
			"memory is not known", func(n *spec.Node) { n.Memory = 0 },
			func(r *cri.LinuxContainerResources) { r.OomScoreAdj = -997 },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := made(t, node(), limited).Linux.Resources
			c.want(want)
			n := node()
			c.set(&n)
			if diff := cmp.Diff(want, made(t, n, limited).Linux.Resources, protocmp.Transform()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSeccompDefault(t *testing.T) {
	n := node()
	n.SeccompDefault = true
	got := made(t, n, limited).Linux.SecurityContext.Seccomp
	if got.ProfileType != cri.SecurityProfile_RuntimeDefault {
		t.Errorf("profile %v", got)
	}
}

func made(t *testing.T, n spec.Node, text string) *cri.ContainerConfig {
	t.Helper()
	p := parse(t, text)
	d, _ := pod.Find(p, "a")
	m, err := spec.Container(p, d, n, containerInput())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestImageUser shows what the user of the image does where the pod names none.
func TestImageUser(t *testing.T) {
	for _, c := range []struct {
		name  string
		image *cri.Image
		want  string // of the error with runAsNonRoot
	}{
		{"root by number", &cri.Image{Uid: &cri.Int64Value{}}, "image will run as root"},
		{"root by default", &cri.Image{}, "image will run as root"},
		{"a name", &cri.Image{Username: "www"}, "image has non-numeric user (www), cannot verify user is non-root"},
		{"a number", &cri.Image{Uid: &cri.Int64Value{Value: 7}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, `spec: {securityContext: {runAsNonRoot: true}, containers: [{name: a}]}`)
			d, _ := pod.Find(p, "a")
			in := containerInput()
			in.Image = c.image
			m, err := spec.Container(p, d, node(), in)
			if c.want == "" {
				if err != nil || m.Linux.SecurityContext.RunAsUser.GetValue() != 7 || m.Linux.SecurityContext.RunAsUsername != "" {
					t.Errorf("%v, %v", m.GetLinux().GetSecurityContext(), err)
				}
				return
			}
			if want := "container has runAsNonRoot and " + c.want + ` (pod: "web_shop(u)", container: a)`; err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

func TestTargetOfEphemeral(t *testing.T) {
	for _, c := range []struct {
		text string
		want cri.NamespaceMode
	}{
		{`spec: {ephemeralContainers: [{name: a, targetContainerName: b}]}`, cri.NamespaceMode_TARGET},
		{`spec: {shareProcessNamespace: true, ephemeralContainers: [{name: a, targetContainerName: b}]}`, cri.NamespaceMode_POD},
	} {
		p := parse(t, c.text)
		d, _ := pod.Find(p, "a")
		in := containerInput()
		in.TargetID = "b-1"
		m, err := spec.Container(p, d, node(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Linux.SecurityContext.NamespaceOptions; got.Pid != c.want || (got.TargetId != "") != (c.want == cri.NamespaceMode_TARGET) {
			t.Errorf("%s: %v", c.text, got)
		}
	}
}
