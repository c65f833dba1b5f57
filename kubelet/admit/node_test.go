package admit_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/admit"
)

func sysctls(names ...string) edit {
	return func(p *v1.Pod) {
		p.Spec.SecurityContext = &v1.PodSecurityContext{}
		for _, n := range names {
			p.Spec.SecurityContext.Sysctls = append(p.Spec.SecurityContext.Sysctls, v1.Sysctl{Name: n, Value: "1"})
		}
	}
}

func profile(kind v1.AppArmorProfileType) edit {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].SecurityContext = &v1.SecurityContext{AppArmorProfile: &v1.AppArmorProfile{Type: kind}}
	}
}

func bears(tolerations ...v1.Toleration) edit {
	return func(p *v1.Pod) { p.Spec.Tolerations = tolerations }
}

func onHost(p *v1.Pod) { p.Spec.HostNetwork, p.Spec.HostIPC = true, true }

func strictly(p *v1.Pod) {
	p.Spec.SecurityContext = &v1.PodSecurityContext{SupplementalGroupsPolicy: new(v1.SupplementalGroupsPolicyStrict)}
}

func assigned(node string) edit { return func(p *v1.Pod) { p.Spec.NodeName = node } }

// TestNode checks what keeps a pod out whatever others there are.
func TestNode(t *testing.T) {
	memory := func(n *admit.Node) { n.Pressure = []v1.NodeConditionType{v1.NodeMemoryPressure} }
	disk := func(n *admit.Node) { n.Pressure = []v1.NodeConditionType{v1.NodeDiskPressure} }
	down := func(n *admit.Node) { n.ShuttingDown = true }
	tainted := func(n *admit.Node) { n.Taints = []v1.Taint{{Key: "k", Value: "v", Effect: v1.TaintEffectNoExecute}} }
	scheduler := func(n *admit.Node) { n.Taints = []v1.Taint{{Key: "k", Value: "v", Effect: v1.TaintEffectNoSchedule}} }
	unsafe := func(n *admit.Node) { n.UnsafeSysctls = []string{"net.core.*", "kernel.msgmax"} }
	armed := func(n *admit.Node) { n.AppArmor = true }
	strict := func(n *admit.Node) { n.StrictGroups = true }
	gpus := func(n *admit.Node) {
		n.Devices = map[v1.ResourceName]int64{"example.com/gpu": 2}
		n.Allocatable["example.com/gpu"] = n.Allocatable[v1.ResourcePods]
	}
	plain := func(*admit.Node) {}
	const taint = "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
	for _, c := range []struct {
		name            string
		pod             *v1.Pod
		node            func(*admit.Node)
		reason, message string
	}{
		{name: "SP-33 a static pod under a taint", pod: static("a"), node: tainted},
		{name: "a taint", pod: api("a"), node: tainted, reason: "TaintToleration", message: taint},
		{name: "a taint for the scheduler", pod: api("a"), node: scheduler},
		{name: "a tolerated taint", pod: api("a", bears(v1.Toleration{Key: "k", Value: "v"})), node: tainted},
		{name: "all taints tolerated", pod: api("a", bears(v1.Toleration{Operator: v1.TolerationOpExists})), node: tainted},
		{
			name: "another value tolerated", pod: api("a", bears(v1.Toleration{Key: "k", Value: "w"})), node: tainted,
			reason: "TaintToleration", message: taint,
		},
		{
			name: "another effect tolerated", pod: api("a", bears(v1.Toleration{Key: "k", Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoSchedule})),
			node: tainted, reason: "TaintToleration", message: taint,
		},

		{
			name: "another node", pod: api("a", assigned("n2")), node: plain,
			reason: "NodeName", message: "Predicate NodeName failed: node(s) didn't match the requested node name",
		},

		{name: "a safe sysctl", pod: api("a", sysctls("kernel.shm_rmid_forced", "net/ipv4/tcp_syncookies")), node: plain},
		{
			name: "an unsafe sysctl", pod: api("a", sysctls("kernel.msgmax")), node: plain,
			reason: "SysctlForbidden", message: `forbidden sysctl: "kernel.msgmax" not allowlisted`,
		},
		{name: "an unsafe sysctl that is allowed", pod: api("a", sysctls("kernel.msgmax", "net.core.somaxconn")), node: unsafe},
		{
			name: "a safe sysctl of the host's network", pod: api("a", sysctls("net.ipv4.tcp_syncookies"), onHost), node: plain,
			reason: "SysctlForbidden", message: `forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host Net enabled`,
		},
		{
			name: "an allowed sysctl of the host's IPC", pod: api("a", sysctls("kernel.msgmax"), onHost), node: unsafe,
			reason: "SysctlForbidden", message: `forbidden sysctl: "kernel.msgmax" not allowed with host IPC enabled`,
		},

		{
			name: "AppArmor where there is none", pod: api("a", profile(v1.AppArmorProfileTypeRuntimeDefault)), node: plain,
			reason: "AppArmor", message: "Cannot enforce AppArmor: AppArmor is not enabled on the host",
		},
		{name: "no AppArmor where there is none", pod: api("a", profile(v1.AppArmorProfileTypeUnconfined)), node: plain},
		{name: "AppArmor where there is some", pod: api("a", profile(v1.AppArmorProfileTypeRuntimeDefault)), node: armed},
		{
			name: "AppArmor without a name", pod: api("a", profile(v1.AppArmorProfileTypeLocalhost)), node: armed,
			reason: "AppArmor", message: `Cannot enforce AppArmor: invalid empty AppArmor profile name: ""`,
		},

		{
			name: "strict groups", pod: api("a", strictly), node: plain,
			reason: "SupplementalGroupsPolicyNotSupported", message: "SupplementalGroupsPolicy=Strict is not supported in this node",
		},
		{name: "strict groups with such a runtime", pod: api("a", strictly), node: strict},

		{
			name: "a feature the node does not have", pod: api("a", onHost, func(p *v1.Pod) { p.Spec.HostUsers = new(bool) }),
			node:   func(n *admit.Node) { n.Features = []string{"Other"} },
			reason: "PodFeatureUnsupported", message: "Pod requires node features that are not available: UserNamespacesHostNetworkSupport",
		},
		{name: "nothing is known of features", pod: api("a", onHost, func(p *v1.Pod) { p.Spec.HostUsers = new(bool) }), node: plain},
		{name: "no feature needed", pod: api("a"), node: func(n *admit.Node) { n.Features = []string{} }},

		{name: "SP-32 a static pod under pressure", pod: static("a"), node: disk},
		{name: "a critical pod under pressure", pod: api("a", priority(system)), node: disk},
		{
			name: "disk pressure", pod: api("a", asks("memory", "1Mi")), node: disk,
			reason: "Evicted", message: "The node had condition: [DiskPressure]. ",
		},
		{
			name: "memory pressure", pod: api("a"), node: memory,
			reason: "Evicted", message: "The node had condition: [MemoryPressure]. ",
		},
		{name: "memory pressure and a pod that asked", pod: api("a", asks("memory", "1Mi")), node: memory},
		{
			name: "memory pressure and a pod that bears it", node: memory,
			pod: api("a", bears(v1.Toleration{Key: v1.TaintNodeMemoryPressure, Operator: v1.TolerationOpExists})),
		},
		{
			name: "on its way down", pod: static("a"), node: down,
			reason: "NodeShutdown", message: "Pod was rejected as the node is shutting down.",
		},

		{name: "enough devices", pod: api("a", asks("example.com/gpu", "2")), node: gpus},
		{
			name: "not enough devices", pod: api("a", asks("example.com/gpu", "3")), node: gpus,
			reason:  "UnexpectedAdmissionError",
			message: "Allocate failed due to requested number of devices unavailable for example.com/gpu. Requested: 3, Available: 2, which is unexpected",
		},
		{name: "a resource that nobody has", pod: api("a", asks("example.com/cloud", "3")), node: plain},

		{
			name: "an ordinary pod that lacks room and labels", pod: api("a", asks("cpu", "3"), selects("disk", "tape")), node: plain,
			reason: "OutOfcpu", message: "Node didn't have enough resource: cpu, requested: 3000, used: 0, capacity: 2000",
		},
		{
			name: "a critical pod that lacks room and labels", pod: api("a", priority(system), asks("cpu", "3"), selects("disk", "tape")), node: plain,
			reason: "NodeAffinity", message: noMatch,
		},
		{
			name: "a critical pod that can get no room", pod: api("a", priority(system), asks("cpu", "3")), node: plain,
			reason: "UnexpectedAdmissionError",
			message: "Unexpected error while attempting to recover from admission failure: preemption: " +
				"error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 1000), ]",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := node()
			c.node(&n)
			got := admit.Check(c.pod, nil, n)
			switch {
			case got == nil && c.reason != "", got != nil && (got.Reason != c.reason || got.Message != c.message):
				t.Errorf("rejection %v, want %s: %s", got, c.reason, c.message)
			}
		})
	}
}

func TestSysctlPattern(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"net.*": true, "kernel.msg*": true, "kernel.shmmax": true, "fs.mqueue.msg_max": true, "vm.swappiness": false, "kernel.*": false,
	} {
		if err := admit.SysctlPattern(pattern); (err == nil) != ok {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
