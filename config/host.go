package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ReadHost collects what the configuration must know about this host. It reads
// the network namespace it is called in.
func ReadHost() (Host, error) {
	name, err := os.Hostname()
	if err != nil {
		return Host{}, fmt.Errorf("read the host's name: %w", err)
	}
	h := Host{Name: name}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return Host{}, fmt.Errorf("list addresses: %w", err)
	}
	byLink := map[int][]netip.Prefix{}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			h.Prefixes = append(h.Prefixes, p)
			byLink[a.LinkIndex] = append(byLink[a.LinkIndex], p)
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		a, err := defaultAddress(family, byLink)
		if err != nil {
			return Host{}, err
		}
		if a.IsValid() {
			h.Default = append(h.Default, a)
		}
	}
	return h, nil
}

// defaultAddress returns the address packets to the outside leave from, or the
// zero address where there is no way out. Of several default routes the one
// with the lowest metric counts, as it does for the kernel.
func defaultAddress(family int, byLink map[int][]netip.Prefix) (netip.Addr, error) {
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return netip.Addr{}, fmt.Errorf("list routes: %w", err)
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return r.Dst != nil && !isZero(r.Dst) })
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return a.Priority - b.Priority })
	for _, r := range routes {
		if a, ok := netip.AddrFromSlice(r.Src); ok {
			return a.Unmap(), nil
		}
		for _, link := range linksOf(r) {
			for _, p := range byLink[link] {
				if a := p.Addr(); a.Is4() == (family == netlink.FAMILY_V4) && a.IsGlobalUnicast() {
					return a, nil
				}
			}
		}
	}
	return netip.Addr{}, nil
}

// linksOf returns the interfaces a route leaves by: several for a multipath
// route.
func linksOf(r netlink.Route) []int {
	links := []int{r.LinkIndex}
	for _, hop := range r.MultiPath {
		links = append(links, hop.LinkIndex)
	}
	return links
}

func isZero(n *net.IPNet) bool {
	ones, _ := n.Mask.Size()
	return ones == 0 && n.IP.IsUnspecified()
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), true
}
