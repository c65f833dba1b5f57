package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A LAN is the network between nodes: a switch that is also their gateway, which
// leads nowhere. It is a network namespace that exists until it is closed, or
// whoever made it ends.
type LAN struct {
	ns    *os.File
	scope string // tells its nodes' control groups from those of other LANs
	dual  bool

	mu   sync.Mutex
	last int // port that a node was given; the gateway has port 1
}

// A Family is what a LAN can have besides IPv4.
type Family int

// DualStack is IPv6 beside IPv4.
const DualStack Family = 1

const (
	prefixBits  = 24
	prefix6Bits = 64
)

func gateway() netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, 1}) }

// NewLAN returns a network without nodes, which ends with the test.
func NewLAN(t testing.TB, families ...Family) *LAN {
	t.Helper()
	l, err := OpenLAN("", families...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// OpenLAN makes a network without nodes. By its name, a DNS label, those who did
// not make it find what its nodes leave on the host; empty, it gets one that
// nobody else has.
func OpenLAN(name string, families ...Family) (*LAN, error) {
	l := &LAN{scope: name, last: 1, dual: len(families) > 0}
	if err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make network namespace: %w", err)
		}
		l.ns, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	}); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(l.ns.Fd()), &st); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if name == "" {
		l.scope = fmt.Sprintf("%d-%d", os.Getpid(), st.Ino)
	}
	if err := in(l.ns, func(h *netlink.Handle) error {
		return errors.Join(
			h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: mainSwitch}}),
			h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: otherSwitch}}),
			configure(h, "lo"),
			configure(h, otherSwitch),
			configure(h, mainSwitch, l.addresses(1)...))
	}); err != nil {
		return nil, errors.Join(fmt.Errorf("make the network: %w", err), l.Close())
	}
	return l, nil
}

// Close ends the network once its nodes are gone.
func (l *LAN) Close() error { return l.ns.Close() }

// next returns a port for a node.
func (l *LAN) next() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.last
}

// address returns the address of whoever is at a port.
func (l *LAN) address(port int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 77, 0, byte(port)})
}

// address6 returns the IPv6 address at a port, if the network has any.
func (l *LAN) address6(port int) netip.Addr {
	if !l.dual {
		return netip.Addr{}
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x77, 15: byte(port)})
}

func (l *LAN) addresses(port int) []netip.Addr {
	if !l.dual {
		return []netip.Addr{l.address(port)}
	}
	return []netip.Addr{l.address(port), l.address6(port)}
}

// plug gives a node that came up its interface on the network, and the way out.
func (l *LAN) plug(n *Node) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	ns := n.on.net()
	if err := in(l.ns, func(h *netlink.Handle) error {
		lan, err := h.LinkByName(mainSwitch)
		if err != nil {
			return err
		}
		return h.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: portName(n.port), MasterIndex: lan.Attrs().Index, Flags: net.FlagUp},
			PeerName:  "eth0", PeerNamespace: netlink.NsFd(int(ns.Fd())),
			PeerHardwareAddr: net.HardwareAddr{0x02, 0x77, 0, 0, 0, byte(n.port)}, // it is the same after a restart
		})
	}); err != nil {
		return fmt.Errorf("attach %s to the network: %w", n.Name, err)
	}
	if err := in(ns, func(h *netlink.Handle) error {
		if err := errors.Join(configure(h, "lo"), configure(h, "eth0", l.addresses(n.port)...)); err != nil {
			return err
		}
		for _, via := range l.addresses(1) {
			if err := h.RouteAdd(&netlink.Route{Gw: via.AsSlice()}); err != nil {
				return err
			}
		}
		return carrier(h, "eth0")
	}); err != nil {
		return fmt.Errorf("give %s its addresses: %w", n.Name, err)
	}
	return nil
}

// unplug takes away the cable of a node, which ends on the node's side as well.
func (l *LAN) unplug(n *Node) error {
	return in(l.ns, func(h *netlink.Handle) error {
		port, err := h.LinkByName(portName(n.port))
		if err == nil {
			err = h.LinkDel(port)
		}
		if errors.As(err, &netlink.LinkNotFoundError{}) || errors.Is(err, unix.ENODEV) {
			return nil // it has gone with the node
		}
		return err
	})
}

// plugged is how long the kernel may take to see that both ends of a cable are in.
const plugged = time.Minute

// carrier waits until an interface is known to be connected: what is up looks
// otherwise before that.
func carrier(h *netlink.Handle, name string) error {
	for end := time.Now().Add(plugged); ; time.Sleep(time.Millisecond) {
		link, err := h.LinkByName(name)
		if err != nil || link.Attrs().OperState == netlink.OperUp {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s is %s after %s", name, link.Attrs().OperState, plugged)
		}
	}
}

// configure brings an interface up, with addresses if there are any.
func configure(h *netlink.Handle, name string, ips ...netip.Addr) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	for _, ip := range ips {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(prefixBits, 32)}}
		if ip.Is6() {
			addr.Mask = net.CIDRMask(prefix6Bits, 128)
			addr.Flags = unix.IFA_F_NODAD // nobody else has it, and it is usable at once
		}
		if err := h.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	return h.LinkSetUp(link)
}

// in calls f with a handle to a network namespace.
func in(ns *os.File, f func(*netlink.Handle) error) error {
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

// The main thread stays with the main goroutine. Every other one ends with a
// goroutine that is locked to it; that one would be left wherever it was taken,
// and a process counts as a member of all control groups that its threads are in.
func init() { runtime.LockOSThread() } //nolint:gochecknoinits // before there are other goroutines

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
