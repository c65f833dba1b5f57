package probe

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// newDialer returns a dialer for connections that last for one probe, so that there is
// none to be kept alive.
func newDialer() net.Dialer { return net.Dialer{KeepAlive: -1, ControlContext: connectAhead} }

// connectAhead asks the kernel for the connection before the dialer does. One that
// leads to this node is there by the time the dialer asks, which then is told so, or
// why there is none, at once. Otherwise it starts a goroutine to watch over the wait,
// and a thread wakes up to run that: for nothing, since there is no wait.
func connectAhead(_ context.Context, _, address string, c syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || to.Addr().Zone() != "" {
		return nil //nolint:nilerr // the dialer knows better
	}
	return c.Control(func(fd uintptr) {
		_ = unix.Connect(int(fd), sockaddr(to)) // the dialer hears of what is wrong
	})
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
