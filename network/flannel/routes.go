package flannel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"boot.internal/network"
)

// connect makes the kernel's ways of one family those that are wanted. What is
// so already is left alone; of what is not, packets find what is behind a route
// before they find the route, and lose the route first.
func connect(u underlay, six bool, wanted []way) error {
	family := familyOf(six)
	stale, err := staleRoutes(u, family, wanted)
	if err != nil {
		return err
	}
	for _, r := range stale {
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete route to %s: %w", r.Dst, err)
		}
	}
	if u.tunnel.exists() {
		if err := setNeighbours(u.tunnel.link, family, wanted); err != nil {
			return err
		}
	}
	return addRoutes(u, family, wanted)
}

// routeOf is a way as the kernel has it.
func routeOf(u underlay, w way) netlink.Route {
	r := netlink.Route{
		Dst: ipNet(w.to), Gw: w.via.AsSlice(), LinkIndex: u.link, Protocol: network.RouteProtocol,
	}
	if w.mac != "" {
		// The far end has no address that this end knows for a neighbour's.
		r.LinkIndex, r.Flags = u.tunnel.link, int(netlink.FLAG_ONLINK)
	}
	return r
}

// ours lists the routes to other nodes: those we made, and what leads to a
// tunnel, whoever made it.
func ours(u underlay, family int) ([]netlink.Route, error) {
	list, err := netlink.RouteListFiltered(family, &netlink.Route{}, 0)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var all []netlink.Route
	for _, r := range list {
		if r.Dst != nil && r.Gw != nil && (r.Protocol == network.RouteProtocol || u.tunnel.exists() && r.LinkIndex == u.tunnel.link) {
			all = append(all, r)
		}
	}
	return all, nil
}

// same reports whether two routes lead to the same place the same way.
func same(a, b netlink.Route) bool {
	return a.Dst.String() == b.Dst.String() && a.Gw.Equal(b.Gw) && a.LinkIndex == b.LinkIndex
}

func staleRoutes(u underlay, family int, wanted []way) ([]netlink.Route, error) {
	have, err := ours(u, family)
	if err != nil {
		return nil, err
	}
	to := map[string]bool{}
	for _, w := range wanted {
		to[w.to.String()] = true
	}
	var stale []netlink.Route
	for _, r := range have {
		if !to[r.Dst.String()] { // one that leads elsewhere is replaced
			stale = append(stale, r)
		}
	}
	return stale, nil
}

func addRoutes(u underlay, family int, wanted []way) error {
	have, err := ours(u, family)
	if err != nil {
		return err
	}
	byDst := map[string]netlink.Route{}
	for _, r := range have {
		byDst[r.Dst.String()] = r
	}
	var wrong error
	for _, w := range wanted {
		r := routeOf(u, w)
		if old, ok := byDst[r.Dst.String()]; ok && same(old, r) {
			continue
		}
		if err := netlink.RouteReplace(&r); err != nil {
			wrong = errors.Join(wrong, fmt.Errorf("add route to %s via %s: %w", w.to, w.via, err))
		}
	}
	return wrong
}

// setNeighbours says who is at the far ends of the tunnels: which address of the
// inner link the next hops have, and by which outer address they are reached.
func setNeighbours(link, family int, wanted []way) error {
	inner, outer := map[netip.Addr]string{}, map[string]netip.Addr{}
	for _, w := range wanted {
		if w.mac != "" {
			inner[w.via], outer[w.mac] = w.mac, w.outer
		}
	}
	return errors.Join(setInner(link, family, inner), setOuter(link, outer))
}

func setInner(link, family int, want map[netip.Addr]string) error {
	have, err := netlink.NeighList(link, family)
	if err != nil {
		return fmt.Errorf("list neighbours: %w", err)
	}
	for _, n := range have {
		addr, _ := netip.AddrFromSlice(n.IP)
		mac, wanted := want[addr.Unmap()]
		switch {
		case n.State&netlink.NUD_PERMANENT == 0:
		case wanted && mac == n.HardwareAddr.String():
			delete(want, addr.Unmap())
		case !wanted:
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("forget neighbour %s: %w", addr, err)
			}
		}
	}
	for addr, mac := range want {
		n := netlink.Neigh{LinkIndex: link, Family: family, State: netlink.NUD_PERMANENT, Type: unix.RTN_UNICAST, IP: addr.AsSlice(), HardwareAddr: hardware(mac)}
		if err := netlink.NeighSet(&n); err != nil {
			return fmt.Errorf("add neighbour %s: %w", addr, err)
		}
	}
	return nil
}

func setOuter(link int, want map[string]netip.Addr) error {
	have, err := netlink.NeighList(link, unix.AF_BRIDGE)
	if err != nil {
		return fmt.Errorf("list far ends: %w", err)
	}
	for _, n := range have {
		addr, _ := netip.AddrFromSlice(n.IP)
		mac := n.HardwareAddr.String()
		switch to, wanted := want[mac]; {
		case wanted && to == addr.Unmap():
			delete(want, mac)
		case !wanted:
			n.Flags = netlink.NTF_SELF
			if err := netlink.NeighDel(&n); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("forget far end %s: %w", mac, err)
			}
		}
	}
	for mac, addr := range want {
		n := netlink.Neigh{LinkIndex: link, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF, IP: addr.AsSlice(), HardwareAddr: hardware(mac)}
		if err := netlink.NeighSet(&n); err != nil {
			return fmt.Errorf("add far end %s: %w", addr, err)
		}
	}
	return nil
}

// hardware is the address that a peer gave, which was read before.
func hardware(mac string) net.HardwareAddr {
	a, _ := net.ParseMAC(mac)
	return a
}
