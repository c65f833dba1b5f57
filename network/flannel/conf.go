package flannel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
)

// The ConfigMap that says how the pods of a cluster are connected, and its key.
// Where there is none, that is not up to boot.
const (
	ConfNamespace = "kube-system"
	ConfName      = "boot-network"
	ConfKey       = "net-conf.json"
)

// A Backend is how packets get from node to node, by flannel's names.
type Backend string

// The backends.
const (
	VXLAN  Backend = "vxlan"   // in a tunnel, over any network
	HostGW Backend = "host-gw" // as they are, from neighbour to neighbour
	Alloc  Backend = "alloc"   // not at all
)

// A Conf says how the pods of a cluster are connected.
type Conf struct {
	// ClusterCIDRs are the ranges of all pods, at most one for each of IPv4 and
	// IPv6.
	ClusterCIDRs []netip.Prefix
	// Backend is what nodes use that can.
	Backend Backend
}

// netConf is flannel's net-conf.json, as far as it means something here.
type netConf struct {
	Network     string `json:"Network,omitempty"`
	EnableIPv4  bool   `json:"EnableIPv4"`
	IPv6Network string `json:"IPv6Network,omitempty"`
	EnableIPv6  bool   `json:"EnableIPv6"`
	Backend     struct {
		Type Backend `json:"Type"`
	} `json:"Backend"`
}

// Marshal writes the configuration as flannel reads it.
func (c Conf) Marshal() (string, error) {
	var out netConf
	out.Backend.Type = c.Backend
	for _, p := range c.ClusterCIDRs {
		if p.Addr().Is4() {
			out.Network, out.EnableIPv4 = p.String(), true
		} else {
			out.IPv6Network, out.EnableIPv6 = p.String(), true
		}
	}
	data, err := json.MarshalIndent(out, "", "  ")
	return string(data), err
}

// ParseConf reads what Marshal wrote.
func ParseConf(text string) (Conf, error) {
	var in netConf
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return Conf{}, fmt.Errorf("read %s: %w", ConfKey, err)
	}
	c := Conf{Backend: in.Backend.Type}
	var wrong error
	for _, s := range []string{in.Network, in.IPv6Network} {
		if s == "" {
			continue
		}
		p, err := netip.ParsePrefix(s)
		wrong = errors.Join(wrong, err)
		c.ClusterCIDRs = append(c.ClusterCIDRs, p.Masked())
	}
	switch {
	case wrong != nil:
		return Conf{}, fmt.Errorf("read %s: %w", ConfKey, wrong)
	case c.Backend != VXLAN && c.Backend != HostGW && c.Backend != Alloc:
		return Conf{}, fmt.Errorf("read %s: backend %q: want %s, %s or %s", ConfKey, c.Backend, VXLAN, HostGW, Alloc)
	}
	return c, nil
}
