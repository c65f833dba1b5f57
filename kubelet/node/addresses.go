package node

import (
	"net/netip"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// What a cloud provider and a node tell each other.
const (
	annotationProvidedIP = "alpha.kubernetes.io/provided-node-ip"
	taintUninitialized   = "node.cloudprovider.kubernetes.io/uninitialized"
)

// addresses returns the addresses of the node: InternalIP first, then Hostname. A
// cloud provider knows better, once it has had its say; before, it is only told
// what the user told.
func (k *Keeper) addresses(old []v1.NodeAddress) []v1.NodeAddress {
	ips := k.o.IPs
	switch {
	case k.o.Cloud && len(old) > 0:
		return old
	case k.o.Cloud:
		ips = k.o.ProvidedIPs
	case len(ips) == 0:
		if ip := defaultIP(); ip.IsValid() {
			ips = []netip.Addr{ip}
		}
	}
	var list []v1.NodeAddress
	for _, ip := range ips {
		list = append(list, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.String()})
	}
	return append(list, v1.NodeAddress{Type: v1.NodeHostName, Address: k.o.Hostname})
}

// providedIP returns the annotation by which a cloud provider learns of the IPs
// that the user gave; "" for none.
func (k *Keeper) providedIP() string {
	if !k.o.Cloud {
		return ""
	}
	var ips []string
	for _, ip := range k.o.ProvidedIPs {
		ips = append(ips, ip.String())
	}
	return strings.Join(ips, ",")
}

// taints returns those of a new node: a cloud provider takes its own away when it
// has set the node up.
func (k *Keeper) taints() []v1.Taint {
	taints := append([]v1.Taint(nil), k.o.Taints...)
	if k.o.Cloud {
		taints = append(taints, v1.Taint{Key: taintUninitialized, Value: "true", Effect: v1.TaintEffectNoSchedule})
	}
	return taints
}
