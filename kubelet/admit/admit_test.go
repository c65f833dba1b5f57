package admit_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"boot.internal/kubelet/admit"
	"boot.internal/kubelet/pod"
)

// A pod is made from edits of a plain static one.
type edit func(p *v1.Pod)

func static(name string, edits ...edit) *v1.Pod {
	p := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
	p.Namespace, p.Name = "default", name
	p.Annotations = map[string]string{pod.ConfigSource: pod.SourceFile}
	for _, e := range edits {
		e(p)
	}
	return p
}

func port(ip string, protocol v1.Protocol, number int32) edit {
	return func(p *v1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = append(c.Ports, v1.ContainerPort{ContainerPort: number, HostIP: ip, Protocol: protocol, HostPort: number})
	}
}

func asks(name v1.ResourceName, quantity string) edit {
	return func(p *v1.Pod) {
		c := &p.Spec.Containers[0]
		if c.Resources.Requests == nil {
			c.Resources.Requests = v1.ResourceList{}
		}
		c.Resources.Requests[name] = resource.MustParse(quantity)
	}
}

// initWith makes what the only container is the init container's, and the
// container plain.
func initWith(restart *v1.ContainerRestartPolicy) edit {
	return func(p *v1.Pod) {
		c := p.Spec.Containers[0]
		c.RestartPolicy = restart
		p.Spec.InitContainers = []v1.Container{c}
		p.Spec.Containers = []v1.Container{{Name: "plain"}}
	}
}

func mirrored(p *v1.Pod) { p.Annotations[pod.ConfigMirror] = "hash" }

func selects(key, value string) edit {
	return func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}

func requires(key string, op v1.NodeSelectorOperator, values ...string) edit {
	return func(p *v1.Pod) {
		p.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: key, Operator: op, Values: values}},
			}}},
		}}
	}
}

func node() admit.Node {
	return admit.Node{
		Name:   "n1",
		Labels: map[string]string{v1.LabelHostname: "n1", v1.LabelOSStable: "linux", "disk": "ssd"},
		Allocatable: v1.ResourceList{
			v1.ResourceCPU: resource.MustParse("2"), v1.ResourceMemory: resource.MustParse("1Gi"),
			v1.ResourceEphemeralStorage: resource.MustParse("10Gi"), v1.ResourcePods: resource.MustParse("3"),
		},
	}
}

const (
	portsTaken = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
	noMatch    = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
	tcp, udp   = v1.ProtocolTCP, v1.ProtocolUDP
)

func TestCheck(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	for _, c := range []struct {
		name            string
		pod             *v1.Pod
		others          []*v1.Pod
		reason, message string // "" if it is admitted
	}{
		{name: "an empty node", pod: static("a", port("", tcp, 80), asks("cpu", "2"))},

		{
			name: "SP-33 port taken", pod: static("b", port("", tcp, 80)), others: []*v1.Pod{static("a", port("", tcp, 80))},
			reason: "NodePorts", message: portsTaken,
		},
		{name: "SP-33 another port", pod: static("b", port("", tcp, 81)), others: []*v1.Pod{static("a", port("", tcp, 80))}},
		{name: "SP-33 another protocol", pod: static("b", port("", udp, 80)), others: []*v1.Pod{static("a", port("", tcp, 80))}},
		{
			name: "SP-33 no protocol is TCP", pod: static("b", port("", "", 80)), others: []*v1.Pod{static("a", port("", tcp, 80))},
			reason: "NodePorts", message: portsTaken,
		},
		{name: "SP-33 another address", pod: static("b", port("10.0.0.1", tcp, 80)), others: []*v1.Pod{static("a", port("10.0.0.2", tcp, 80))}},
		{
			name: "SP-33 an address and all of them", pod: static("b", port("10.0.0.1", tcp, 80)), others: []*v1.Pod{static("a", port("0.0.0.0", tcp, 80))},
			reason: "NodePorts", message: portsTaken,
		},
		{
			name: "SP-33 all addresses and one", pod: static("b", port("", tcp, 80)), others: []*v1.Pod{static("a", port("10.0.0.1", tcp, 80))},
			reason: "NodePorts", message: portsTaken,
		},
		{
			name: "SP-33 a sidecar holds its port", pod: static("b", port("", tcp, 80)),
			others: []*v1.Pod{static("a", port("", tcp, 80), initWith(&always))},
			reason: "NodePorts", message: portsTaken,
		},
		{
			name: "SP-33 an init container holds its port for a moment only", pod: static("b", port("", tcp, 80)),
			others: []*v1.Pod{static("a", port("", tcp, 80), initWith(nil))},
		},
		{name: "SP-38 its own former version", pod: static("a", port("", tcp, 80)), others: []*v1.Pod{static("a", port("", tcp, 80), asks("cpu", "2"))}},
		{
			name: "SP-58 a mirror holds nothing", pod: static("b", port("", tcp, 80), asks("cpu", "2")),
			others: []*v1.Pod{static("a", mirrored, port("", tcp, 80), asks("cpu", "2"))},
		},

		{name: "SP-33 linux", pod: static("a", func(p *v1.Pod) { p.Spec.OS = &v1.PodOS{Name: v1.Linux} })},
		{
			name: "SP-33 another OS", pod: static("a", func(p *v1.Pod) { p.Spec.OS = &v1.PodOS{Name: v1.Windows} }),
			reason: "PodOSNotSupported", message: "Failed to admit pod as the OS field doesn't match node OS",
		},
		{
			name: "SP-33 label of another OS", pod: static("a", func(p *v1.Pod) { p.Labels = map[string]string{v1.LabelOSStable: "windows"} }),
			reason: "PodOSSelectorNodeLabelDoesNotMatch", message: "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
		},
		{name: "SP-33 label of this OS", pod: static("a", func(p *v1.Pod) { p.Labels = map[string]string{v1.LabelOSStable: "linux"} })},
		{name: "SP-33 selector of this OS", pod: static("a", selects(v1.LabelOSStable, "linux"))},
		{name: "SP-33 selector of another OS", pod: static("a", selects(v1.LabelOSStable, "windows")), reason: "NodeAffinity", message: noMatch},
		{name: "SP-33 selector matches", pod: static("a", selects("disk", "ssd"))},
		{name: "SP-33 selector does not", pod: static("a", selects("disk", "tape")), reason: "NodeAffinity", message: noMatch},
		{name: "SP-33 affinity matches", pod: static("a", requires("disk", v1.NodeSelectorOpIn, "tape", "ssd"))},
		{name: "SP-33 affinity does not", pod: static("a", requires("disk", v1.NodeSelectorOpDoesNotExist)), reason: "NodeAffinity", message: noMatch},
		{name: "SP-33 affinity that cannot be read", pod: static("a", requires("disk", "Like", "s*")), reason: "NodeAffinity", message: noMatch},

		{
			name: "SP-33 too many pods", pod: static("d"), others: []*v1.Pod{static("a"), static("b"), static("c")},
			reason: "OutOfpods", message: "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
		},
		{name: "SP-58 mirrors are not counted", pod: static("d"), others: []*v1.Pod{static("a"), static("b"), static("c", mirrored)}},
		{name: "SP-33 just enough CPU", pod: static("b", asks("cpu", "500m")), others: []*v1.Pod{static("a", asks("cpu", "1500m"))}},
		{
			name: "SP-33 not enough CPU", pod: static("b", asks("cpu", "501m")), others: []*v1.Pod{static("a", asks("cpu", "1500m"))},
			reason: "OutOfcpu", message: "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000",
		},
		{
			name: "SP-33 not enough memory", pod: static("b", asks("memory", "1Gi")), others: []*v1.Pod{static("a", asks("memory", "1Mi"))},
			reason: "OutOfmemory", message: "Node didn't have enough resource: memory, requested: 1073741824, used: 1048576, capacity: 1073741824",
		},
		{
			name: "SP-33 not enough disk", pod: static("a", asks("ephemeral-storage", "11Gi")), reason: "OutOfephemeral-storage",
			message: "Node didn't have enough resource: ephemeral-storage, requested: 11811160064, used: 0, capacity: 10737418240",
		},
		{
			name: "SP-33 no such huge pages", pod: static("a", asks("hugepages-2Mi", "4Mi")), reason: "OutOfhugepages-2Mi",
			message: "Node didn't have enough resource: hugepages-2Mi, requested: 4194304, used: 0, capacity: 0",
		},
		{name: "SP-33 of an unknown resource nothing is known", pod: static("a", asks("example.com/gpu", "1"))},
		{name: "SP-33 nothing asked for of what is overdrawn", pod: static("b"), others: []*v1.Pod{static("a", asks("cpu", "3"))}},
		{
			name: "IC-47 an init container's need is the pod's", pod: static("a", asks("cpu", "3"), initWith(nil)),
			reason: "OutOfcpu", message: "Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
		},
		{
			name: "SP-32 what no room would help is told first", pod: static("a", asks("cpu", "3"), selects("disk", "tape")),
			reason: "NodeAffinity", message: noMatch,
		},
		{
			name: "SP-32 one critical pod does not yield to another",
			pod:  static("b", asks("cpu", "2"), func(p *v1.Pod) { p.Spec.Priority = new(int32(2000001000)) }), others: []*v1.Pod{static("a", asks("cpu", "1"))},
			reason: "OutOfcpu", message: "Node didn't have enough resource: cpu, requested: 2000, used: 1000, capacity: 2000",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := admit.Check(c.pod, c.others, node())
			if r == nil {
				r = &admit.Rejection{}
			}
			if want := (admit.Rejection{Reason: c.reason, Message: c.message}); *r != want {
				t.Errorf("%+v, want %+v", *r, want)
			}
		})
	}
}
