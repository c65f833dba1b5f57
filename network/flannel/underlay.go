package flannel

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An address is one of this host's.
type address struct {
	netip.Prefix
	link int
	lost bool // deprecated, tentative, or on its way out
}

func addresses() ([]address, error) {
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var all []address
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ones, _ := a.Mask.Size()
		lost := a.Flags&(unix.IFA_F_DEPRECATED|unix.IFA_F_TENTATIVE|unix.IFA_F_TEMPORARY|unix.IFA_F_DADFAILED) != 0
		all = append(all, address{netip.PrefixFrom(ip.Unmap(), ones), a.LinkIndex, lost})
	}
	return all, nil
}

// underlays finds the networks that other nodes are reached by: those that have
// the node's addresses.
func underlays(nodeIPs []netip.Addr, have []address) (v4, v6 underlay) {
	for _, ip := range nodeIPs {
		for _, a := range have {
			if a.Addr() != ip {
				continue
			}
			if ip.Is4() {
				v4 = underlayOf(a, have)
			} else {
				v6 = underlayOf(a, have)
			}
		}
	}
	// The other family: what the same link has of it.
	switch {
	case v4.addr.IsValid() && !v6.addr.IsValid():
		v6 = onLinkOf(v4.link, true, have)
	case v6.addr.IsValid() && !v4.addr.IsValid():
		v4 = onLinkOf(v6.link, false, have)
	}
	return v4, v6
}

func onLinkOf(link int, six bool, have []address) underlay {
	for _, a := range have {
		if a.link == link && a.Addr().Is6() == six && a.Addr().IsGlobalUnicast() && !a.lost {
			return underlayOf(a, have)
		}
	}
	return underlay{}
}

func underlayOf(a address, have []address) underlay {
	u := underlay{addr: a.Addr(), link: a.link}
	for _, other := range have {
		if other.link == a.link && other.Addr().Is6() == a.Addr().Is6() && !other.Addr().IsLinkLocalUnicast() {
			u.onLink = append(u.onLink, other.Masked())
		}
	}
	return u
}

// observe finds out how this node can be reached for pods of its ranges.
func (n *Network) observe(known view) (self, error) {
	have, err := addresses()
	if err != nil {
		return self{}, err
	}
	me := self{node: n.o.Node, cidrs: known.cidrs, cluster: known.conf.ClusterCIDRs}
	v4, v6 := underlays(n.o.NodeIPs, have)
	for _, p := range known.cidrs {
		u, to := v4, &me.v4
		if p.Addr().Is6() {
			u, to = v6, &me.v6
		}
		if !u.addr.IsValid() {
			continue
		}
		link, err := netlink.LinkByIndex(u.link)
		if err != nil {
			return self{}, fmt.Errorf("look at the link of %s: %w", u.addr, err)
		}
		u.mtu = link.Attrs().MTU
		*to = u
	}
	return me, nil
}
