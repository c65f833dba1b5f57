package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A LAN is the network between nodes: a switch that is also their gateway, which
// leads nowhere. It is a network namespace that exists for as long as the test.
type LAN struct {
	ns   *os.File
	last netip.Addr // given to a node
}

func gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, 1}) }

const prefixBits = 24

// NewLAN returns a network without nodes.
func NewLAN(t testing.TB) *LAN {
	t.Helper()
	l := &LAN{last: gateway()}
	if err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		l.ns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.ns.Close() }) // and with it goes the network
	if err := l.in(l.ns, func(h *netlink.Handle) error {
		return errors.Join(
			h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}),
			configure(h, "lo", netip.Addr{}),
			configure(h, "lan", gateway()))
	}); err != nil {
		t.Fatalf("make the network: %v", err)
	}
	return l
}

// next returns an address for a node.
func (l *LAN) next() netip.Addr {
	l.last = l.last.Next()
	return l.last
}

// attach gives a node an interface on the network, and the way out.
func (l *LAN) attach(n *Node) error {
	port := "to-" + n.Name
	if err := l.in(l.ns, func(h *netlink.Handle) error {
		lan, err := h.LinkByName("lan")
		if err != nil {
			return err
		}
		cable := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: lan.Attrs().Index, Flags: net.FlagUp},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(n.fds.net.Fd())),
		}
		return h.LinkAdd(cable)
	}); err != nil {
		return err
	}
	return l.in(n.fds.net, func(h *netlink.Handle) error {
		if err := errors.Join(configure(h, "lo", netip.Addr{}), configure(h, "eth0", n.IP)); err != nil {
			return err
		}
		return h.RouteAdd(&netlink.Route{Gw: gateway().AsSlice()})
	})
}

// configure brings an interface up, with an address if there is one.
func configure(h *netlink.Handle, name string, ip netip.Addr) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if ip.IsValid() {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(prefixBits, 32)}}
		if err := h.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	return h.LinkSetUp(link)
}

// in calls f with a handle to a network namespace.
func (l *LAN) in(ns *os.File, f func(*netlink.Handle) error) error {
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return f(h)
	})
}

// onThread calls f on a thread that ends with it, so that f may change what
// belongs to a thread.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}
