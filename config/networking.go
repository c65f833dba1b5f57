package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// The places of well-known Services in the (first) service subnet.
const (
	// KubernetesServiceIndex is the place of the Service "kubernetes".
	KubernetesServiceIndex = 1
	// DNSServiceIndex is the place of the Service "kube-dns".
	DNSServiceIndex = 10
)

// ServiceAddress returns the address at the given place of the first service
// subnet.
func (n Networking) ServiceAddress(index int) (netip.Addr, error) {
	subnets, err := ParseSubnets(n.ServiceSubnet)
	if err != nil {
		return netip.Addr{}, err
	}
	a := subnets[0].Masked().Addr()
	for range index {
		a = a.Next()
	}
	if !subnets[0].Contains(a) {
		return netip.Addr{}, fmt.Errorf("service subnet %s has no address number %d", subnets[0], index)
	}
	return a, nil
}

// ParseSubnets reads one CIDR, or two separated by a comma.
func ParseSubnets(s string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is not a CIDR", part)
		}
		out = append(out, p)
	}
	return out, nil
}

// splitEndpoint splits "host[:port]"; ok is false if either is invalid.
func splitEndpoint(endpoint string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(endpoint, "["), "]"), ""
	}
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return "", "", false
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host, port, true
	}
	return host, port, len(validation.IsDNS1123Subdomain(host)) == 0
}

// ArgValue returns the value of the last argument of that name: it is the one
// that components heed.
func ArgValue(args []Arg, name string) (value string, ok bool) {
	for _, a := range args {
		if a.Name == name {
			value, ok = a.Value, true
		}
	}
	return value, ok
}
