package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A connection is on its way, if not there, before the dialer asks for it, and serves
// like any other.
func TestConnectAhead(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			l, err := net.Listen("tcp", address(host, 0))
			if err != nil {
				t.Skip("the machine has no such address: ", err)
			}
			defer func() { _ = l.Close() }()
			d := newDialer()
			ahead := d.ControlContext
			var again error
			d.ControlContext = func(ctx context.Context, network, address string, c syscall.RawConn) error {
				err := ahead(ctx, network, address, c)
				return errors.Join(err, c.Control(func(fd uintptr) {
					again = unix.Connect(int(fd), sockaddr(netip.MustParseAddrPort(address)))
				}))
			}
			conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if again != nil && !errors.Is(again, unix.EALREADY) {
				t.Errorf("the kernel had not been asked for it: %v", again)
			}
			if conn.RemoteAddr().String() != l.Addr().String() {
				t.Errorf("connected with %s", conn.RemoteAddr())
			}
			_ = l.Close()
			if got := connect(t.Context(), l.Addr().String()); got.ok || got.output != "dial tcp "+l.Addr().String()+": connect: connection refused" {
				t.Errorf("nobody listens, but: %+v", got)
			}
		})
	}
}

// Who does not answer is waited for until the probe's time is up.
func TestConnectGivenUp(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := address("127.0.0.1", at.(*unix.SockaddrInet4).Port)
	first, err := net.Dial("tcp", addr) // the only one who gets in
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	answers := make(chan answer)
	go func() { answers <- connect(ctx, addr) }()
	cancel()
	if got := <-answers; got.ok || got.output != "dial tcp "+addr+": operation was canceled" {
		t.Errorf("%+v", got)
	}
}
