package admit

import (
	"cmp"
	"slices"

	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// checkPorts compares the ports on the node that the pod asks for with those
// that are taken.
func checkPorts(p *v1.Pod, others []*v1.Pod) *Rejection {
	var taken []hostPort
	for _, o := range others {
		taken = append(taken, hostPorts(o)...)
	}
	for _, want := range hostPorts(p) {
		if slices.ContainsFunc(taken, want.clashes) {
			return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports")
		}
	}
	return nil
}

// A hostPort is a port on the node.
type hostPort struct {
	ip       string
	protocol v1.Protocol
	port     int32
}

const everyIP = "0.0.0.0"

func (a hostPort) clashes(b hostPort) bool {
	return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == everyIP || b.ip == everyIP)
}

// hostPorts returns the ports that a pod holds for as long as it runs, which
// those of its plain init containers are not.
func hostPorts(p *v1.Pod) []hostPort {
	var all []hostPort
	for _, d := range pod.Containers(p) {
		if d.Kind != pod.Regular && d.Kind != pod.Sidecar {
			continue
		}
		for _, c := range d.Ports {
			if c.HostPort > 0 {
				all = append(all, hostPort{cmp.Or(c.HostIP, everyIP), cmp.Or(c.Protocol, v1.ProtocolTCP), c.HostPort})
			}
		}
	}
	return all
}
