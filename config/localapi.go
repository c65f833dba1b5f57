package config

import (
	"net"
	"net/netip"
	"strconv"
)

// LocalAPIPort is the port on loopback at which a node reaches whichever API
// server lives, where no endpoint is shared by all of them.
const LocalAPIPort = 7443

// LocalAPIName is a name that every API server shows a certificate for: none has
// one for the loopback address that the port is on.
const LocalAPIName = "kubernetes"

// LocalAPI returns the URL of that port on a node of this address: on loopback of
// the same family.
func LocalAPI(node string) string {
	loopback := LoopbackIPv4
	if a, err := netip.ParseAddr(node); err == nil && a.Is6() {
		loopback = LoopbackIPv6
	}
	return "https://" + net.JoinHostPort(loopback, strconv.Itoa(LocalAPIPort))
}

// The addresses that the port is on.
const (
	LoopbackIPv4 = "127.0.0.1"
	LoopbackIPv6 = "::1"
)
