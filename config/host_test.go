package config

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"boot.internal/nstest"
)

// Whatever host the test is on: it has a loopback address, and what its
// default routes leave from is configured on it.
func TestReadHost(t *testing.T) {
	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	if h.Name == "" {
		t.Error("no name")
	}
	if !slices.Contains(h.Prefixes, netip.MustParsePrefix("127.0.0.1/8")) {
		t.Errorf("no loopback address among %v", h.Prefixes)
	}
	for _, a := range h.Default {
		if !h.has(a) || a.IsLoopback() {
			t.Errorf("default address %s is not among %v", a, h.Prefixes)
		}
	}
}

// In a network of the test's own: of two default routes the cheaper one
// counts, and a source address that the route names wins over the first.
func TestReadHostPicksTheDefaultRoute(t *testing.T) {
	nstest.Unshare(t, unix.CLONE_NEWNET)
	if h, err := ReadHost(); err != nil || len(h.Default) > 0 {
		t.Fatalf("an empty network has default addresses %v, %v", h.Default, err)
	}
	dear, cheap := addLink(t, "dear0"), addLink(t, "cheap0")
	addAddress(t, dear, "192.0.2.10/24")
	addAddress(t, cheap, "198.51.100.7/24")
	addAddress(t, cheap, "198.51.100.8/24")
	addAddress(t, cheap, "2001:db8::10/64")
	addDefault(t, &netlink.Route{LinkIndex: dear, Priority: 200}, "192.0.2.1")
	addDefault(t, &netlink.Route{LinkIndex: cheap, Priority: 100, Src: netip.MustParseAddr("198.51.100.8").AsSlice()}, "198.51.100.1")
	addDefault(t, &netlink.Route{LinkIndex: cheap, Priority: 100}, "2001:db8::1")

	h, err := ReadHost()
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("198.51.100.8"), netip.MustParseAddr("2001:db8::10")}
	if diff := cmp.Diff(want, h.Default, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	for _, p := range []string{"192.0.2.10/24", "198.51.100.7/24", "2001:db8::10/64"} {
		if !slices.Contains(h.Prefixes, netip.MustParsePrefix(p)) {
			t.Errorf("%s is not among %v", p, h.Prefixes)
		}
	}
}

func addLink(t *testing.T, name string) (index int) {
	t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	for _, end := range []string{name, name + "p"} {
		l, err := netlink.LinkByName(end)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		if end == name {
			index = l.Attrs().Index
		}
	}
	return index
}

func addAddress(t *testing.T, index int, address string) {
	t.Helper()
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	a.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: index}}, a); err != nil {
		t.Fatal(err)
	}
}

func addDefault(t *testing.T, r *netlink.Route, gateway string) {
	t.Helper()
	r.Gw = netip.MustParseAddr(gateway).AsSlice()
	if err := netlink.RouteAdd(r); err != nil {
		t.Fatal(err)
	}
}
