package flannel

import (
	"encoding/binary"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"boot.internal/network"
)

// What pods do to links, addresses and routes of their own concerns nobody here.
func TestConcerned(t *testing.T) {
	message := func(kind uint16, size int, set map[int]byte) syscall.NetlinkMessage {
		m := syscall.NetlinkMessage{Header: syscall.NlMsghdr{Type: kind}, Data: make([]byte, size)}
		for at, b := range set {
			m.Data[at] = b
		}
		return m
	}
	link := func(kind uint16, index uint32) syscall.NetlinkMessage {
		m := message(kind, unix.SizeofIfInfomsg, nil)
		binary.NativeEndian.PutUint32(m.Data[4:], index)
		return m
	}
	n := New(Options{})
	n.links = map[int]bool{2: true}
	for name, tt := range map[string]struct {
		m    syscall.NetlinkMessage
		want bool
	}{
		"the link to others":          {link(unix.RTM_NEWLINK, 2), true},
		"it goes":                     {link(unix.RTM_DELLINK, 2), true},
		"the link of a pod":           {link(unix.RTM_NEWLINK, 9), false},
		"an address":                  {message(unix.RTM_DELADDR, unix.SizeofIfAddrmsg, nil), true},
		"an address of a link":        {message(unix.RTM_NEWADDR, unix.SizeofIfAddrmsg, map[int]byte{3: unix.RT_SCOPE_LINK}), false},
		"a route of ours is deleted":  {message(unix.RTM_DELROUTE, unix.SizeofRtMsg, map[int]byte{5: network.RouteProtocol}), true},
		"a route of others":           {message(unix.RTM_DELROUTE, unix.SizeofRtMsg, map[int]byte{5: unix.RTPROT_KERNEL}), false},
		"a route that we add":         {message(unix.RTM_NEWROUTE, unix.SizeofRtMsg, map[int]byte{5: network.RouteProtocol}), false},
		"a message that is cut short": {message(unix.RTM_NEWLINK, 3, nil), false},
	} {
		if got := n.concerned([]syscall.NetlinkMessage{tt.m}); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
