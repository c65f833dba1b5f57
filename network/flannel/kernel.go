package flannel

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"boot.internal/network"
)

// calm is how long the kernel is not listened to after it had news: what others
// change all the time is put right now and then.
const calm = 500 * time.Millisecond

// listen opens a socket on which the kernel tells of changes of links, addresses
// and routes.
func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	s := os.NewFile(uintptr(fd), "netlink")
	about := &unix.SockaddrNetlink{Family: unix.AF_NETLINK}
	for _, group := range []int{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE} {
		about.Groups |= 1 << (group - 1)
	}
	if err := unix.Bind(fd, about); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// followKernel asks for a look whenever somebody changes what is ours or what it
// rests on, until ctx ends.
func (n *Network) followKernel(ctx context.Context) {
	s, err := listen()
	if err != nil {
		n.o.Log.LogAttrs(ctx, slog.LevelWarn, "listen to the kernel", slog.Any("err", err))
		return // a look now and then has to do
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	buf := make([]byte, 32<<10) // for as long as boot runs: there is much that does not matter
	for ctx.Err() == nil {
		var messages []syscall.NetlinkMessage
		size, err := s.Read(buf)
		if err == nil {
			messages, err = syscall.ParseNetlinkMessage(buf[:size])
		}
		// After an error there is no telling what was missed.
		if err == nil && !n.concerned(messages) {
			continue
		}
		n.Poke()
		select {
		case <-ctx.Done():
		case <-time.After(calm):
		}
	}
}

// concerned reports whether one of the messages is about something of ours.
func (n *Network) concerned(messages []syscall.NetlinkMessage) bool {
	for _, m := range messages {
		switch m.Header.Type {
		case unix.RTM_NEWLINK, unix.RTM_DELLINK:
			if len(m.Data) >= unix.SizeofIfInfomsg && n.matters(int(binary.NativeEndian.Uint32(m.Data[4:8]))) {
				return true
			}
		case unix.RTM_NEWADDR, unix.RTM_DELADDR: // addresses of links that pods have do not count
			if len(m.Data) >= unix.SizeofIfAddrmsg && m.Data[3] == unix.RT_SCOPE_UNIVERSE {
				return true
			}
		case unix.RTM_DELROUTE:
			if len(m.Data) >= unix.SizeofRtMsg && m.Data[5] == network.RouteProtocol {
				return true
			}
		}
	}
	return false
}
