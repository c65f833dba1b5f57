package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	kubeproxyv1alpha1 "k8s.io/kube-proxy/config/v1alpha1"
)

// Bounds of subnets, as the API server and the controller manager have them.
const (
	minServiceBits  = 4  // sixteen addresses: the tenth is DNS
	maxServiceBits  = 20 // the allocator keeps a bitmap
	maxNodeSubnets  = 16 // in bits: so many nodes fit a pod subnet
	minPodBits      = 4
	nodeMaskIPv4    = 24
	nodeMaskIPv6    = 64
	nodeMaskArgIPv4 = "node-cidr-mask-size-ipv4"
	nodeMaskArgIPv6 = "node-cidr-mask-size-ipv6"
)

func (v *validator) endpoint(kind, path string, e APIEndpoint, h Host) {
	at := path + ".advertiseAddress"
	const name = "name one with --apiserver-advertise-address or localAPIEndpoint.advertiseAddress"
	a, err := netip.ParseAddr(e.AdvertiseAddress)
	switch {
	case e.AdvertiseAddress == "":
		v.add(kind, at, "this host has no default route to take the address from", name)
	case err != nil || a.Zone() != "":
		v.add(kind, at, strconv.Quote(e.AdvertiseAddress)+" is not an address", "write an IPv4 or IPv6 address")
	case a.IsUnspecified() || a.IsLoopback() || a.IsMulticast():
		v.add(kind, at, a.String()+" can not be reached by other nodes", hostAddresses(h))
	case !h.has(a):
		v.add(kind, at, a.String()+" is not an address of this host", hostAddresses(h))
	}
	v.port(kind, path+".bindPort", e.BindPort)
}

// has tells whether a is configured on one of the host's interfaces.
func (h Host) has(a netip.Addr) bool {
	if h.Elsewhere {
		return true
	}
	for _, p := range h.Prefixes {
		if p.Addr() == a.Unmap() {
			return true
		}
	}
	return false
}

// network returns the network of the interface that has the address a.
func (h Host) network(a netip.Addr) (netip.Prefix, bool) {
	for _, p := range h.Prefixes {
		if p.Addr() == a {
			return p.Masked(), true
		}
	}
	return netip.Prefix{}, false
}

func hostAddresses(h Host) string {
	var usable []string
	for _, p := range h.Prefixes {
		if a := p.Addr(); a.IsGlobalUnicast() {
			usable = append(usable, a.String())
		}
	}
	if len(usable) == 0 {
		return "this host has no address that others can reach"
	}
	return "this host has " + strings.Join(usable, ", ")
}

// networking checks the subnets, each alone and then against all others.
func (v *validator) networking(i *Init, h Host) {
	n := i.Cluster.Networking
	v.dnsName(kindCluster, "networking.dnsDomain", n.DNSDomain)
	services := v.subnets("networking.serviceSubnet", n.ServiceSubnet, minServiceBits)
	for _, s := range services {
		if bits := s.Addr().BitLen() - s.Bits(); bits > maxServiceBits {
			v.add(kindCluster, "networking.serviceSubnet", s.String()+" is too large",
				fmt.Sprintf("use /%d or smaller", s.Addr().BitLen()-maxServiceBits))
		}
	}
	var pods []netip.Prefix
	if n.PodSubnet != "" {
		pods = v.subnets("networking.podSubnet", n.PodSubnet, minPodBits)
		v.nodeMasks(pods, i.Cluster.ControllerManager.ExtraArgs)
	}
	advertise, err := netip.ParseAddr(i.Init.LocalAPIEndpoint.AdvertiseAddress)
	if err == nil && len(services) > 0 {
		v.check(services[0].Addr().Is4() == advertise.Is4(), kindCluster, "networking.serviceSubnet",
			fmt.Sprintf("%s is not of the family of the advertise address %s", services[0], advertise),
			"put the subnet of that family first")
	}
	v.overlaps(services, pods, h, advertise)
}

// subnets parses one or two CIDRs of at least the given number of host bits.
func (v *validator) subnets(path, value string, minBits int) []netip.Prefix {
	subnets, err := ParseSubnets(value)
	if err != nil {
		v.add(kindCluster, path, err.Error(), `write it as "10.0.0.0/16", or two of different families with a comma between`)
		return nil
	}
	if len(subnets) > 2 || len(subnets) == 2 && subnets[0].Addr().Is4() == subnets[1].Addr().Is4() {
		v.add(kindCluster, path, "holds more than one CIDR of a family", "")
	}
	for _, s := range subnets {
		if s.Addr() != s.Masked().Addr() {
			v.add(kindCluster, path, s.String()+" has bits set behind its mask", "write "+s.Masked().String())
		}
		v.check(s.Addr().BitLen()-s.Bits() >= minBits, kindCluster, path, s.String()+" is too small")
	}
	return subnets
}

// nodeMasks checks that nodes get a part of the pod subnet, and not so small a
// part that the controller manager refuses.
func (v *validator) nodeMasks(pods []netip.Prefix, args []Arg) {
	if value, _ := ArgValue(args, "allocate-node-cidrs"); value == "false" {
		return
	}
	for _, p := range pods {
		name, mask := nodeMaskArgIPv4, nodeMaskIPv4
		if p.Addr().Is6() {
			name, mask = nodeMaskArgIPv6, nodeMaskIPv6
		}
		if s, ok := ArgValue(args, name); ok {
			parsed, err := strconv.Atoi(s)
			if err != nil {
				v.add(kindCluster, "controllerManager.extraArgs", fmt.Sprintf("%s: %q is not a number", name, s), "")
				continue
			}
			mask = parsed
		}
		if p.Bits() > mask || mask-p.Bits() > maxNodeSubnets {
			v.add(kindCluster, "networking.podSubnet", fmt.Sprintf("%s can not be split into /%d for the nodes", p, mask),
				fmt.Sprintf("set %s of the controller manager to between %d and %d", name, p.Bits(), min(p.Bits()+maxNodeSubnets, p.Addr().BitLen())))
		}
	}
}

// overlaps compares the subnets with each other and with the network that the
// node itself is in. The networks of other interfaces do not count: one may be
// the bridge that an earlier run made for these very pods.
func (v *validator) overlaps(services, pods []netip.Prefix, h Host, advertise netip.Addr) {
	const hint = "choose ranges that are used nowhere else"
	const service, pod = "networking.serviceSubnet", "networking.podSubnet"
	for _, s := range services {
		for _, p := range pods {
			v.check(!s.Overlaps(p), kindCluster, pod, fmt.Sprintf("%s overlaps with the service subnet %s", p, s), hint)
		}
	}
	nodes, ok := h.network(advertise)
	if !ok {
		return
	}
	for _, s := range services {
		v.check(!s.Overlaps(nodes), kindCluster, service, fmt.Sprintf("%s overlaps with this host's network %s", s, nodes), hint)
	}
	for _, p := range pods {
		v.check(!p.Overlaps(nodes), kindCluster, pod, fmt.Sprintf("%s overlaps with this host's network %s", p, nodes), hint)
	}
}

func (v *validator) port(kind, path string, port int32) {
	v.check(port >= 1 && port <= 65535, kind, path, fmt.Sprintf("%d is not a port", port), "ports go from 1 to 65535")
}

func (v *validator) kubeProxy(i *Init) {
	p := i.KubeProxy
	v.oneOf(kindKubeProxy, "mode", string(p.Mode), "", "iptables", "nftables", "ipvs")
	if p.Mode == kubeproxyv1alpha1.ProxyMode("ipvs") {
		i.warn(`KubeProxyConfiguration: mode "ipvs" is deprecated; leave mode out and boot picks what the kernel can do`)
	}
	_, err := netip.ParseAddr(p.BindAddress)
	v.check(err == nil, kindKubeProxy, "bindAddress", strconv.Quote(p.BindAddress)+" is not an address")
	if pods := i.Cluster.Networking.PodSubnet; pods != "" && p.ClusterCIDR != pods {
		i.warn(fmt.Sprintf("KubeProxyConfiguration: clusterCIDR %s differs from networking.podSubnet %s", p.ClusterCIDR, pods))
	}
}
