package status

import (
	v1 "k8s.io/api/core/v1"

	"boot.internal/kubelet/pod"
)

// addresses sets the addresses of the pod and of its node. A pod keeps its
// addresses when its sandbox has ended.
func (v *view) addresses(s *v1.PodStatus) {
	for _, ip := range v.HostIPs[:min(len(v.HostIPs), 2)] {
		s.HostIPs = append(s.HostIPs, v1.HostIP{IP: ip})
	}
	ips := v.podIPs()
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, v1.PodIP{IP: ip})
	}
	if len(ips) == 0 {
		s.PodIPs = v.Prev.PodIPs
	}
	if len(s.HostIPs) > 0 {
		s.HostIP = s.HostIPs[0].IP
	}
	if len(s.PodIPs) > 0 {
		s.PodIP = s.PodIPs[0].IP
	}
}

func (v *view) podIPs() []string {
	switch {
	case pod.IsHostNetwork(v.Pod) && len(v.Prev.PodIPs) > 0:
		return nil // they do not follow the node's
	case pod.IsHostNetwork(v.Pod):
		return v.HostIPs[:min(len(v.HostIPs), 2)]
	case v.fault != "":
		return nil
	}
	return pod.OnePerFamily(v.sandbox.IPs, v.HostIPs)
}
