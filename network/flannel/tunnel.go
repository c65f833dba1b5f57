package flannel

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"boot.internal/network"
)

// errNoVXLAN says that the kernel knows no such links.
var errNoVXLAN = errors.New("the kernel has no vxlan")

func tunnelName(six bool) string {
	if six {
		return network.TunnelIPv6
	}
	return network.TunnelIPv4
}

// linkByName returns nil where there is no such link.
func linkByName(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if _, none := errors.AsType[netlink.LinkNotFoundError](err); none {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for link %s: %w", name, err)
	}
	return link, nil
}

// ensureTunnel sees to it that there is this node's end of the tunnels over u, on
// which the host itself has the first address of its range. One that is as it
// should be stays, and one that differs in more than its MTU is replaced.
func ensureTunnel(node string, u underlay, pods netip.Prefix) (tunnel, error) {
	name := tunnelName(pods.Addr().Is6())
	want := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{Name: name, MTU: u.room(), HardwareAddr: macOf(node, name)},
		VxlanId:   vni, Port: port, VtepDevIndex: u.link, SrcAddr: u.addr.AsSlice(),
	}
	have, err := linkByName(name)
	if err != nil {
		return tunnel{}, err
	}
	if have != nil && !sameTunnel(have, want) {
		if err := netlink.LinkDel(have); err != nil {
			return tunnel{}, fmt.Errorf("delete link %s: %w", name, err)
		}
		have = nil
	}
	if have == nil {
		if have, err = addTunnel(want); err != nil {
			return tunnel{}, err
		}
	}
	if err := settle(have, want.MTU, netip.PrefixFrom(pods.Addr(), pods.Addr().BitLen())); err != nil {
		return tunnel{}, err
	}
	return tunnel{link: have.Attrs().Index, mac: have.Attrs().HardwareAddr.String()}, nil
}

// macOf makes up an address that stays the same when the link is made again, so
// that the others need not notice.
func macOf(node, name string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(node + "/" + name))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // of one station, and nobody's assigned
	return mac
}

func sameTunnel(have netlink.Link, want *netlink.Vxlan) bool {
	v, ok := have.(*netlink.Vxlan)
	return ok && v.VxlanId == want.VxlanId && v.Port == want.Port && v.VtepDevIndex == want.VtepDevIndex &&
		v.SrcAddr.Equal(want.SrcAddr) && !v.Learning && v.Group == nil
}

func addTunnel(want *netlink.Vxlan) (netlink.Link, error) {
	if err := netlink.LinkAdd(want); errors.Is(err, unix.EOPNOTSUPP) {
		return nil, errNoVXLAN
	} else if err != nil {
		return nil, fmt.Errorf("add link %s: %w", want.Name, err)
	}
	return netlink.LinkByName(want.Name)
}

// settle marks a link as ours, gives it its MTU and its one address, and brings it
// up.
func settle(link netlink.Link, mtu int, own netip.Prefix) error {
	a := link.Attrs()
	if a.Alias != network.LinkAlias {
		if err := netlink.LinkSetAlias(link, network.LinkAlias); err != nil {
			return fmt.Errorf("mark link %s: %w", a.Name, err)
		}
	}
	if a.MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", a.Name, mtu, err)
		}
	}
	if err := setAddress(link, own); err != nil {
		return err
	}
	if a.Flags&net.FlagUp != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", a.Name, err)
	}
	return nil
}

func setAddress(link netlink.Link, own netip.Prefix) error {
	name, family := link.Attrs().Name, familyOf(own.Addr().Is6())
	have, err := netlink.AddrList(link, family)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", name, err)
	}
	want, there := ipNet(own), false
	for _, a := range have {
		if a.IP.IsLinkLocalUnicast() {
			continue
		}
		if a.IP.Equal(want.IP) && a.Mask.String() == want.Mask.String() {
			there = true
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil {
			return fmt.Errorf("delete address %s of %s: %w", a.IPNet, name, err)
		}
	}
	if there {
		return nil
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: want, Flags: unix.IFA_F_NODAD * family6(own)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", own, name, err)
	}
	return nil
}

// family6 is 1 for IPv6, which alone looks for another owner of an address.
func family6(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 1
	}
	return 0
}

func familyOf(six bool) int {
	if six {
		return netlink.FAMILY_V6
	}
	return netlink.FAMILY_V4
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// removeTunnel takes a tunnel of ours away, with all that leads there.
func removeTunnel(six bool) error {
	link, err := linkByName(tunnelName(six))
	if err != nil || link == nil || link.Attrs().Alias != network.LinkAlias {
		return err
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("delete link %s: %w", link.Attrs().Name, err)
	}
	return nil
}
