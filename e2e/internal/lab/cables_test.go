package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// pings answers on a port of the node until the test ends.
func pings(t *testing.T, n *Node) {
	t.Helper()
	l, err := n.Listen("tcp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}

// reaches returns whether a node gets an answer of another.
func reaches(ctx context.Context, from *Node, to netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to, 7).String())
	if err == nil {
		err = c.Close()
	}
	return err
}

// want waits until nodes reach each other, or no longer do.
func want(t *testing.T, ok bool, a, b *Node) {
	t.Helper()
	for _, way := range [][2]*Node{{a, b}, {b, a}} {
		Until(t, patience, fmt.Sprintf("see that %s reaches %s: %v", way[0].Name, way[1].Name, ok), func(ctx context.Context) error {
			err := reaches(ctx, way[0], way[1].IP)
			if err == nil && !ok {
				return errors.New("it does")
			}
			if err != nil && ok {
				return err
			}
			return nil
		})
	}
}

func TestCables(t *testing.T) {
	lan := NewLAN(t)
	a, b, c := lan.Node(t, "a"), lan.Node(t, "b"), lan.Node(t, "c")
	for _, n := range []*Node{a, b, c} {
		pings(t, n)
	}
	carrier := func() string { return strings.TrimSpace(a.Run(t, "cat", "/sys/class/net/eth0/carrier")) }
	want(t, true, a, b)

	Must(t, lan.Cut(a))
	want(t, false, a, b)
	want(t, true, b, c)
	Until(t, patience, "see that the node notices", func(context.Context) error {
		if got := carrier(); got != "0" {
			return fmt.Errorf("carrier %s", got)
		}
		return nil
	})
	Must(t, lan.Mend(a))
	want(t, true, a, b)

	Must(t, lan.Split(a, b))
	want(t, true, a, b)
	want(t, false, a, c)
	if carrier() != "1" {
		t.Error("a split is noticed")
	}
	Must(t, lan.Heal(a, b))
	want(t, true, a, c)

	Must(t, lan.Drop(a, 99))
	want(t, false, a, b)
	want(t, true, b, c)
	Must(t, lan.Drop(a, 30))
	want(t, true, a, b) // now and then
	Must(t, lan.Drop(a, 0))
	want(t, true, a, b)
}

func TestSlowCable(t *testing.T) {
	lan := NewLAN(t)
	a, b := lan.Node(t, "a"), lan.Node(t, "b")
	took := func() time.Duration {
		t.Helper()
		return min(send(t, a, b), send(t, b, a))
	}
	const limited = 1500 * time.Millisecond // at least, for 2 MiB at 1 MiB a second
	quick := took()
	Must(t, lan.Slow(a, 1<<20))
	if slow := took(); slow < limited {
		t.Errorf("it took %s, and %s without a limit", slow, quick)
	}
	Must(t, lan.Slow(a, 0))
	Until(t, patience, "see that there is no limit", func(context.Context) error { // the machine may be busy
		if again := took(); again >= limited {
			return fmt.Errorf("it takes %s", again)
		}
		return nil
	})
}

// send sends 2 MiB from one node to another and returns how long it took.
func send(t *testing.T, from, to *Node) time.Duration {
	t.Helper()
	const size = 2 << 20
	l, err := to.Listen("tcp", netip.AddrPortFrom(to.IP, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	begin := time.Now()
	go func() {
		c, err := from.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return // the other side gets nothing
		}
		_, _ = c.Write(make([]byte, size)) // as much as it gets
		_ = c.Close()
	}()
	if err := l.(*net.TCPListener).SetDeadline(begin.Add(patience)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	got := 0
	for buf := make([]byte, 64<<10); ; {
		n, err := c.Read(buf)
		got += n
		if err != nil {
			break
		}
	}
	if got != size {
		t.Fatalf("got %d bytes", got)
	}
	return time.Since(begin)
}

func TestDualStack(t *testing.T) {
	lan := NewLAN(t, DualStack)
	a, b := lan.Node(t, "a"), lan.Node(t, "b")
	pings(t, b)
	if b.IP6 != netip.MustParseAddr("fd77::3") {
		t.Errorf("address %s", b.IP6)
	}
	for _, ip := range []netip.Addr{b.IP, b.IP6} {
		Until(t, patience, "reach "+ip.String(), func(ctx context.Context) error { return reaches(ctx, a, ip) })
	}
	if route := a.Run(t, "ip", "-6", "route", "get", "2001:db8::1"); !strings.Contains(route, "via fd77::1 dev eth0") {
		t.Errorf("route %q", route)
	}
}
